// The tool `probe`: one use of each thing a guest in JavaScript has to be able to do.

import { log } from 'ampoule:plugin/log@1.0.0';
import { report, emit } from 'ampoule:plugin/progress@1.0.0';
import { create, open } from 'ampoule:plugin/blobs@1.0.0';
import { send } from 'ampoule:plugin/http@1.0.0';
import { call } from 'ampoule:plugin/tools@1.0.0';
import { stream } from 'ampoule:llm/llm@1.0.0';

const STEPS = 4;

export const tool = {
  call(name, args) {
    if (name !== 'probe') {
      throw failure('not-found', `there is no tool \`${name}\``);
    }
    const value = JSON.stringify(probe(JSON.parse(args)));
    return { value, blocks: [], truncated: false };
  },
};

/** Errors of the contract pass through to the caller, but for those of `http`. */
function probe({ url, tool, text }) {
  log('info', 'probe begins', JSON.stringify({ language: 'javascript' }));

  const { status, page } = fetchPage(url);
  report(1, STEPS, 'page');

  const filter = { input: { a: 1, b: 2 }, fields: ['a'] };
  const filtered = JSON.parse(call(tool, JSON.stringify(filter)).value ?? 'null');
  report(2, STEPS, 'tool');

  const blob = keep(text);
  report(3, STEPS, 'blob');

  const streamed = ask(text);
  report(4, STEPS, 'stream');
  emit({ kind: 'text', mediaType: 'text/plain', text: streamed });

  return { status, page, filtered, blob: { $blob: blob.id }, size: blob.size, streamed };
}

/** Status and bytes of the page; the code of the error where there is no answer. */
function fetchPage(url) {
  try {
    const response = send({ method: 'GET', url, headers: [], credentials: [] });
    let page = 0;
    for (let data; (data = response.read(65536n)).length > 0; ) {
      page += data.length;
    }
    const status = response.status();
    response[Symbol.dispose]();
    return { status, page };
  } catch (thrown) {
    // The toolchain wraps the error of a function; `payload` is the contract's `error`.
    if (thrown.payload === undefined) throw thrown;
    return { status: thrown.payload.code, page: 0 };
  }
}

/** Writes `text` into a blob in two pieces and reads it back. */
function keep(text) {
  const data = new TextEncoder().encode(text);
  const half = data.length >> 1;
  const writer = create('text/plain');
  writer.write(data.subarray(0, half));
  writer.write(data.subarray(half));
  const opened = open(writer.finish().id());
  const back = new TextDecoder().decode(opened.read(0n, BigInt(data.length)));
  if (back !== text) {
    throw failure('internal', 'the blob changed');
  }
  return { id: opened.id(), size: Number(opened.size()) };
}

/** What a model answers to `text`, put together from the stream. */
function ask(text) {
  const parts = [{ kind: 'text', text }];
  const request = { model: '', messages: [{ role: 'user', parts }], tools: [], options: '{}' };
  const events = stream(request);
  let answer = '';
  for (let event; (event = events.next()) !== undefined; ) {
    if (event.kind === 'content') answer += event.text ?? '';
  }
  events[Symbol.dispose]();
  return answer;
}

function failure(code, message) {
  return { code, message, retryable: false };
}
