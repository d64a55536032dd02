// A streaming filter: UTF-8 text in, the same text in upper case out.
//
//   pyjail run --ro-bind examples/node:/srv -- node /srv/upper.js <letter.txt >loud.txt
//
// It holds one chunk at a time. pipeline() stops reading while the reader of stdout is slow, and ends the
// service when that reader goes away, so the input may be of any length.
'use strict';

const { Transform } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { StringDecoder } = require('node:string_decoder');

class Upper extends Transform {
  // A character may lie across two chunks: the decoder keeps its first bytes until the rest is there.
  #decoder = new StringDecoder('utf8');

  _transform(chunk, encoding, done) {
    done(null, this.#decoder.write(chunk).toUpperCase());
  }

  _flush(done) {
    done(null, this.#decoder.end().toUpperCase());
  }
}

pipeline(process.stdin, new Upper(), process.stdout).catch((error) => {
  // The reader that has seen enough is no fault of ours; anything else is.
  if (error.code !== 'EPIPE') {
    process.stderr.write(`upper: ${error.message}\n`);
    process.exitCode = 1;
  }
});
