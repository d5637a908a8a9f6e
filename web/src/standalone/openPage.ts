import { mount } from 'svelte';
import StandalonePage from './StandalonePage.svelte';

const target = document.getElementById('page');
if (!target) throw new Error('index.html has no #page');
target.replaceChildren();
mount(StandalonePage, { target });
