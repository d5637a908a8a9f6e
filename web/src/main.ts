import { mount } from 'svelte';
import App from './App.svelte';
import { keepFocus } from './lib/keepFocus';
import './page.css';

const target = document.getElementById('page');
if (!target) throw new Error('index.html has no #page');
mount(App, { target });
keepFocus();
