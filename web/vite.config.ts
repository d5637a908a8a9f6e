import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: '../src/pixelwise/server/static',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    rollupOptions: { input: ['index.html', 'label.html'] },
  },
  server: { proxy: { '/v1': 'http://127.0.0.1:8000', '/docs': 'http://127.0.0.1:8000' } },
});
