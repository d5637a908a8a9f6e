import { mount } from 'svelte';
import '../page.css';
import { keepFocus } from '../lib/keepFocus';
import LabelPage from './LabelPage.svelte';

const target = document.getElementById('page');
if (!target) throw new Error('label.html has no #page');
mount(LabelPage, { target });
keepFocus();
