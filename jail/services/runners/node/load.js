// From source text to the function that a service exports: a CommonJS module, or an ES module where the text
// is one. Both are compiled under the service's own name, wherever the text came from.
'use strict';

const { Module, createRequire, isBuiltin } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const vm = require('node:vm');

// What V8 says of a CommonJS text that is an ES module.
const MODULE_SYNTAX = [
  'Cannot use import statement outside a module',
  "Unexpected token 'export'",
  "Cannot use 'import.meta' outside a module",
  'await is only valid in async functions and the top level bodies of modules',
];
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];

function resolver(name) {
  const require = createRequire(name);
  const base = pathToFileURL(name);
  return (specifier) => {
    if (isBuiltin(specifier)) return specifier;
    if (/^(\.{0,2}\/|[a-z]+:)/.test(specifier)) return new URL(specifier, base).href;
    return pathToFileURL(require.resolve(specifier)).href;
  };
}

// Node warns that its modules made of text are an experiment; that is no matter of the service's.
function withoutWarning(make) {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return make();
  } finally {
    process.emitWarning = emitWarning;
  }
}

// Of an error in a module made of text node keeps the place to itself; a node that only checks it does not.
function placed(error, source, name) {
  const { spawnSync } = require('node:child_process'); // which takes 10 ms to load
  const { stderr } = spawnSync(process.execPath, ['--check', '--input-type=module'], { input: source, env: {} });
  const told = String(stderr).split(/\n {4}at /)[0];
  if (told.startsWith('[stdin]:')) error.stack = told.replace('[stdin]', name);
}

// Compile; an error of the syntax is remembered, to be told from one that running code throws.
function compiled(make, source, name) {
  try {
    return make();
  } catch (error) {
    load.syntaxError = error;
    if (!error.stack.startsWith(name)) placed(error, source, name);
    const where = /^\S+:\d+$/m.exec(error.stack);
    if (where) error.message += ` (${where[0]})`;
    throw error;
  }
}

async function loadModule(source, name) {
  const resolve = resolver(name);
  const url = pathToFileURL(name).href;
  const module = compiled(() => withoutWarning(() => new vm.SourceTextModule(source, {
    identifier: url,
    initializeImportMeta(meta) {
      meta.url = url;
      meta.filename = name;
      meta.dirname = path.dirname(name);
      meta.resolve = resolve;
    },
    importModuleDynamically: (specifier) => import(resolve(specifier)),
  })), source, name);
  await module.link(async (specifier) => {
    const found = await import(resolve(specifier));
    const names = Object.keys(found);
    return withoutWarning(() => new vm.SyntheticModule(names, function fill() {
      for (const each of names) this.setExport(each, found[each]);
    }));
  });
  await module.evaluate();
  return module.namespace;
}

function compileCommon(source, name) {
  const resolve = resolver(name);
  const importModuleDynamically = (specifier) => import(resolve(specifier));
  return vm.compileFunction(source, PARAMETERS, { filename: name, importModuleDynamically });
}

function runCommon(body, name) {
  const module = new Module(name);
  module.filename = name;
  module.paths = Module._nodeModulePaths(path.dirname(name));
  const require = createRequire(name);
  require.main = module;
  body.call(module.exports, module.exports, require, module, name, path.dirname(name));
  module.loaded = true;
  return module.exports;
}

async function load(text, name) {
  // The first line stays a line.
  const source = text.replace(/^\uFEFF/, '').replace(/^#!/, '//');
  let exported;
  let body;
  if (!name.endsWith('.mjs')) {
    try {
      body = compileCommon(source, name);
    } catch (error) {
      const isModule = MODULE_SYNTAX.some((text) => error.message.startsWith(text));
      if (name.endsWith('.cjs') || !isModule) {
        compiled(() => { throw error; }, source, name);
      }
    }
  }
  if (body !== undefined) exported = runCommon(body, name);
  else exported = await loadModule(source, name);
  return typeof exported === 'function' ? exported : exported?.default;
}

module.exports = { load };
