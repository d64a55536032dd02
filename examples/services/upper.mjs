// A stream: the request's body comes back in upper case, whatever its length, a piece at a time.
//
//   pyjail service run examples/services/upper.mjs <letter.txt >loud.txt
//
// pipeline() reads no faster than the response is taken. Status and header fields go before the first piece.
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';

class Upper extends Transform {
  // A character may lie across two pieces: the decoder keeps its first bytes until the rest is there.
  #decoder = new StringDecoder('utf8');

  _transform(piece, encoding, done) {
    done(null, this.#decoder.write(piece).toUpperCase());
  }

  _flush(done) {
    done(null, this.#decoder.end().toUpperCase());
  }
}

export default async (req, res) => {
  res.setHeader('Content-Type', 'text/plain; charset=utf-8');
  await pipeline(req, new Upper(), res);
};
