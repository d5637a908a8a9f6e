import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import typescript from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

const types = { projectService: true, extraFileExtensions: ['.svelte'] };

export default typescript.config(
  js.configs.recommended,
  typescript.configs.recommendedTypeChecked,
  svelte.configs.recommended,
  { languageOptions: { globals: globals.browser, parserOptions: types } },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { ...types, parser: typescript.parser, svelteConfig } },
  },
  { files: ['*.js'], extends: [typescript.configs.disableTypeChecked] },
);
