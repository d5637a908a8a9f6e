// The page that `pixelwise export --web` puts beside a bundle: files that any host serves, at any address.

import { readFile, writeFile } from 'node:fs/promises';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const OUT = '../src/pixelwise/prediction/web_page';
const RUNTIME = 'node_modules/onnxruntime-web';

export default defineConfig({
  plugins: [
    svelte(),
    {
      name: 'onnxruntime',
      async writeBundle() {
        for (const kind of ['mjs', 'wasm']) {
          const file = await readFile(`${RUNTIME}/dist/ort-wasm-simd-threaded.${kind}`);
          await writeFile(`${OUT}/onnxruntime.${kind}`, file);
        }
      },
    },
  ],
  base: './',
  publicDir: false,
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'production'] },
  worker: { format: 'es', rollupOptions: { output: { entryFileNames: 'assets/network-[hash].js' } } },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { page: 'standalone.html', 'service-worker': 'src/standalone/serviceWorker.ts' },
      output: {
        entryFileNames: ({ name }) => (name === 'service-worker' ? 'service-worker.js' : 'assets/[name]-[hash].js'),
      },
    },
  },
});
