// Runs one JavaScript service for one request; docs/services.md has the convention.
//
//   node --experimental-vm-modules <this folder> FILE NAME
//
// FILE is where the service's code is, NAME what it is called in messages. Everything that takes time and
// needs neither is done first. Then the request is read from descriptor 4, up to its end: whoever starts
// this ahead of time holds that end back. Only then is the service's code looked at.
'use strict';

const fs = require('node:fs');
const { load } = require('./load.js');
const { openRequest } = require('./request.js');
const { Response } = require('./response.js');
const { respond, isWeak } = require('./respond.js');
const { tell, describe } = require('./tell.js');

const STATUS = {
  throw: 100, syntax: 101, 'async-throw': 102, rejection: 103, 'no-response': 104, exit: 105, load: 106, closed: 141,
};
const REQUEST = 4;

const [file, name] = process.argv.splice(2, 2);
process.argv[1] = name;
process.execArgv.length = 0;
// What a service prints for its author is log; the body is written to res, or to process.stdout.
Object.defineProperty(console, '_stdout', { value: process.stderr, configurable: true });

let leaving = false;
let left; // a returned value that counts only if nothing else is said
const res = new Response();

// End with a status when all that was handed to stdout has left.
function leave(status) {
  if (leaving) return;
  leaving = true;
  process.exitCode = status;
  process.stdout.write('', () => process.exit(status));
}

function fail(kind, error) {
  if (leaving) return;
  const told = describe(error);
  tell({ type: 'error', kind, ...told });
  process.stderr.write(told.stack + '\n');
  leave(STATUS[kind]);
}

function named(errorName, message) {
  const error = new Error(message);
  error.name = errorName;
  error.stack = `${errorName}: ${message}`;
  return error;
}

function watch() {
  process.on('uncaughtException', (error) => fail('async-throw', error));
  process.on('unhandledRejection', (error) => fail('rejection', error));
  process.stdout.on('error', (error) => {
    leaving = true;
    process.exit(error.code === 'EPIPE' ? STATUS.closed : STATUS.throw);
  });
  res.on('error', (error) => fail('throw', error));
  res.on('finish', () => {
    tell({ type: 'end' });
    leave(0);
  });
  process.on('beforeExit', () => {
    if (leaving || res.writableEnded) return;
    if (left !== undefined && !res.hasWritten) {
      respond(left, res);
      return;
    }
    fail('no-response', named('NoResponse', 'nothing is left to do and res.end() was not called'));
  });
  process.on('exit', (status) => {
    if (leaving) return;
    leaving = true;
    const error = named('ExitError', `the service called process.exit(${status}) before its response had ended`);
    tell({ type: 'error', kind: 'exit', ...describe(error) });
    if (status === 0) process.exitCode = STATUS.exit;
  });
}

function next(error, value) {
  if (error) fail('throw', error);
  else if (value !== undefined) respond(value, res);
  else res.end();
}

// Started ahead, do once what each answer takes: node makes its streams when they are first named, V8 compiles
// a function when it is first called, and whoever waits for this one's answer need not wait for that.
async function rehearse() {
  const own = new Response();
  own._write = (chunk, encoding, done) => process.stdout.write('', done);
  const handler = await load('module.exports = (req, res) => { res.end("x"); };', '/srv/rehearsal.js');
  const ended = new Promise((resolve) => { own.on('finish', resolve); });
  await respond(handler(process.stdin, own), own);
  process.stderr.write('');
  await ended;
}

async function main() {
  if (fs.fstatSync(REQUEST).isFIFO()) await rehearse();
  const request = JSON.parse(fs.readFileSync(REQUEST, 'utf8'));
  Object.assign(process.env, request.env);
  watch();
  let handler;
  try {
    handler = await load(fs.readFileSync(file, 'utf8'), name);
  } catch (error) {
    fail(error === load.syntaxError ? 'syntax' : 'throw', error);
    return;
  }
  if (typeof handler !== 'function') {
    fail('load', named('LoadError', `${name} exports no function: module.exports = (req, res) => {…}`));
    return;
  }
  try {
    const returned = handler(openRequest(request, res), res, next);
    if (isWeak(returned)) left = returned;
    else await respond(await returned, res, returned);
  } catch (error) {
    fail('throw', error);
  }
}

main();
