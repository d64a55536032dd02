// A streaming aggregator: JSON lines in, running totals out.
//
//   printf '%s\n' '{"key":"a","value":2}' '{"key":"b","value":5}' '{"key":"a","value":1}' |
//     pyjail run --ro-bind examples/node:/srv -- node /srv/summary.js
//
//   {"key":"a","count":1,"sum":2}
//   {"key":"b","count":1,"sum":5}
//   {"key":"a","count":2,"sum":3}
//
// Each answer leaves before the next question is read, so it serves a dialogue as well as a file. A line
// that is not such an object ends the service with status 1 and the line's number on stderr.
'use strict';

const { once } = require('node:events');
const readline = require('node:readline');

function parse(line, number) {
  let record;
  try {
    record = JSON.parse(line);
  } catch (error) {
    throw new Error(`line ${number}: not JSON (${error.message})`);
  }
  if (typeof record?.key !== 'string' || typeof record?.value !== 'number') {
    throw new Error(`line ${number}: expected {"key": string, "value": number}`);
  }
  return record;
}

async function main() {
  const totals = new Map();
  let number = 0;
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    number += 1;
    if (line === '') continue;
    const { key, value } = parse(line, number);
    const total = totals.get(key) ?? { key, count: 0, sum: 0 };
    total.count += 1;
    total.sum += value;
    totals.set(key, total);
    // write() is false when the reader is behind: wait for it rather than pile up answers in memory.
    if (!process.stdout.write(JSON.stringify(total) + '\n')) await once(process.stdout, 'drain');
  }
}

main().catch((error) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`summary: ${error.message}\n`);
  process.exit(1);
});
