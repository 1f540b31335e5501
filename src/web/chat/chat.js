// The chat page: asks the native surface (POST /api/unified/chat-stream), shows each stage as it arrives, and survives what
// happens to pages: a reload in mid-answer, a lost network, a server that is busy. No framework, no build step, and nothing
// that a server or a model wrote ever becomes HTML: it goes in as text only.
//
// In reading order: texts, storage, the conversation, the stream, one turn's life, Markdown, the view, the page.

const API = '/api/unified';
const MAX_CHARACTERS = 8000;
const COUNT_FROM = 7000;
const TURNS_KEPT = 40;
const RETRY_WAITS_MS = [400, 1000, 2000, 4000, 8000, 15000];
const SILENCE_MS = 40000; // The server sends a comment every 15 s; longer silence is a connection that died unnoticed.

// ---------------------------------------------------------------------------------------------------------------- Texts

const TEXTS = {
  en: {
    skip: 'Skip to the message box', company: 'Company', changeKey: 'Change key', newChat: 'New chat', otherLanguage: 'Tiếng Việt',
    welcome: 'Ask anything. The answer comes from the company’s own documents, with its sources.',
    questions: 'Questions to try', signIn: 'Open a company', companyId: 'Company ID', apiKey: 'API key', open: 'Open',
    signInWhy: 'This server asks for a company’s API key. It is kept in this tab only and forgotten when the tab is closed.',
    signInBoth: 'Both are needed: the company ID and its API key.',
    conversation: 'Conversation', you: 'You', answer: 'Answer', message: 'Message', placeholder: 'Ask a question', send: 'Send', stop: 'Stop',
    jump: 'Jump to the latest', notice: 'Written by a machine. Check the sources.', counter: '{n} of {max} characters',
    reading: 'Reading', searching: 'Searching', writing: 'Writing', stopping: 'Stopping', answering: 'The answer is being written.',
    sources: 'Sources', sources0: 'no sources', sources1: '1 source', sourcesN: '{n} sources', source: 'Source {n}: {title}', relevance: 'Relevance {n}',
    read: 'Open the document', newWindow: '(new window)',
    reconnecting: 'Connection lost. Reconnecting …', offline: 'You are offline. The answer goes on when the connection is back.', resumed: 'Picked up where it was.',
    stopped: 'Stopped. What had been written is kept.', length: 'Cut off: the answer reached its longest length.',
    content_filter: 'The model’s provider withheld the rest.', interrupted: 'Interrupted before its end.', empty: 'No answer was written.',
    degraded: 'Answered with less than usual: {parts}.', embedder: 'keyword search only', index: 'the documents could not be searched',
    llm: 'no language model at hand, so passages are quoted', provider: 'a stand-in language model', store: 'only the recent conversation was known',
    journal: 'not protected against a crash while it was written',
    retry: 'Try again', retryIn: 'Try again in {n} s', code: 'Code',
    network: 'The connection was lost and did not come back.', lost: 'This answer can’t be picked up any more. What had arrived is kept.',
    failed: 'No answer could be written.', not_stored: 'The answer could not be kept safely.', busy: 'Too many questions at once.',
    unavailable: 'The server takes no new questions right now.', unauthorized: 'The API key is not valid or has expired.',
    forbidden: 'This key does not open this company.', notFound: 'The server does not know this company.', tooLong: 'The message is too long.',
    invalid: 'The server did not accept this message.', server: 'Something went wrong on the server.', noCompanies: 'There is no company here yet. Add one with: turnpike company add ID',
    pageFailed: 'The page could not reach its server.',
    intents: { sales_inquiry: 'sales inquiry', information: 'information', support: 'support', general: 'general' },
  },
  vi: {
    skip: 'Đến ô nhập tin nhắn', company: 'Công ty', changeKey: 'Đổi khóa', newChat: 'Cuộc trò chuyện mới', otherLanguage: 'English',
    welcome: 'Bạn cứ hỏi. Câu trả lời lấy từ tài liệu của chính công ty, có kèm nguồn.',
    questions: 'Câu hỏi gợi ý', signIn: 'Mở một công ty', companyId: 'Mã công ty', apiKey: 'Khóa API', open: 'Mở',
    signInWhy: 'Máy chủ này yêu cầu khóa API của công ty. Khóa chỉ được giữ trong thẻ này và bị quên khi đóng thẻ.',
    signInBoth: 'Cần cả hai: mã công ty và khóa API.',
    conversation: 'Cuộc trò chuyện', you: 'Bạn', answer: 'Trả lời', message: 'Tin nhắn', placeholder: 'Nhập câu hỏi', send: 'Gửi', stop: 'Dừng',
    jump: 'Xuống cuối', notice: 'Do máy viết. Hãy kiểm tra nguồn.', counter: '{n} / {max} ký tự',
    reading: 'Đang đọc', searching: 'Đang tìm', writing: 'Đang viết', stopping: 'Đang dừng', answering: 'Đang viết câu trả lời.',
    sources: 'Nguồn', sources0: 'không có nguồn', sources1: '1 nguồn', sourcesN: '{n} nguồn', source: 'Nguồn {n}: {title}', relevance: 'Độ liên quan {n}',
    read: 'Mở tài liệu', newWindow: '(cửa sổ mới)',
    reconnecting: 'Mất kết nối. Đang nối lại …', offline: 'Bạn đang ngoại tuyến. Câu trả lời sẽ tiếp tục khi có mạng.', resumed: 'Đã nối tiếp từ chỗ dang dở.',
    stopped: 'Đã dừng. Phần đã viết được giữ lại.', length: 'Bị cắt: câu trả lời đã đạt độ dài tối đa.',
    content_filter: 'Nhà cung cấp mô hình đã giữ lại phần còn lại.', interrupted: 'Bị gián đoạn trước khi kết thúc.', empty: 'Chưa có câu trả lời nào được viết.',
    degraded: 'Trả lời trong điều kiện hạn chế: {parts}.', embedder: 'chỉ tìm theo từ khóa', index: 'không tìm được trong tài liệu',
    llm: 'không có mô hình ngôn ngữ nên trích nguyên văn các đoạn', provider: 'mô hình ngôn ngữ dự phòng', store: 'chỉ biết phần trò chuyện gần đây',
    journal: 'không được bảo vệ nếu có sự cố trong lúc viết',
    retry: 'Thử lại', retryIn: 'Thử lại sau {n} giây', code: 'Mã',
    network: 'Mất kết nối và không nối lại được.', lost: 'Không thể nối tiếp câu trả lời này nữa. Phần đã nhận được giữ lại.',
    failed: 'Không viết được câu trả lời.', not_stored: 'Không lưu được câu trả lời một cách an toàn.', busy: 'Quá nhiều câu hỏi cùng lúc.',
    unavailable: 'Hiện máy chủ không nhận câu hỏi mới.', unauthorized: 'Khóa API không đúng hoặc đã hết hạn.',
    forbidden: 'Khóa này không dùng được cho công ty này.', notFound: 'Máy chủ không biết công ty này.', tooLong: 'Tin nhắn quá dài.',
    invalid: 'Máy chủ không nhận tin nhắn này.', server: 'Máy chủ gặp sự cố.', noCompanies: 'Chưa có công ty nào. Hãy thêm bằng lệnh: turnpike company add ID',
    pageFailed: 'Trang không kết nối được với máy chủ.',
    intents: { sales_inquiry: 'hỏi mua', information: 'thông tin', support: 'hỗ trợ', general: 'chung' },
  },
};

let language = 'en';

const t = (key, values = {}) => TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const decimal = (n) => new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(n);
const whole = (n) => new Intl.NumberFormat(language).format(n);

function languageName({ code, language: english }) {
  let name = english;
  try {
    name = new Intl.DisplayNames([language], { type: 'language', fallback: 'none' }).of(code) ?? english;
  } catch { /* A code that the browser does not know keeps the server's name. */ }
  return name.charAt(0).toLocaleUpperCase(language) + name.slice(1);
}

// -------------------------------------------------------------------------------------------------------------- Storage

// Storage may be forbidden or full: the page then works on, and only a reload forgets.
function recall(storage, key) {
  try { return JSON.parse(window[storage].getItem(key)); } catch { return null; }
}
function keep(storage, key, value) {
  try { window[storage].setItem(key, JSON.stringify(value)); return true; } catch { return false; }
}
function drop(storage, key) {
  try { window[storage].removeItem(key); } catch { /* Nothing was kept. */ }
}

// 128 random bits. Not crypto.randomUUID, which plain-HTTP origins other than loopback lack.
const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

// ----------------------------------------------------------------------------------------------------- The conversation

let auth = 'open'; // or 'keys'
let companies = []; // those that open mode lists
let company = null; // { id, name, industry, languages, questions, key }
let chat = { sessionId: '', turns: [] };

// A conversation opened with a key goes when the tab does, as the key itself: the next person at this computer has neither.
const chatStorage = () => (auth === 'keys' ? 'sessionStorage' : 'localStorage');
const chatKey = () => `turnpike.chat.${company.id}`;

const newChat = () => ({ sessionId: randomId(), turns: [] });
const newTurn = (question) => ({ question, key: randomId(), ...blank() });

// What the server tells of a turn. `lastId` is the number of the last event that is in it.
const blank = () => ({
  status: 'running', turnId: null, lastId: 0, answer: '', language: null, intent: null, sources: null,
  finish: null, degraded: [], error: null, note: null,
});

// Many events are one writing. Only a change is written, so that a tab that slept never writes over what another one did.
let saveTimer = 0;
function save() { saveTimer ||= setTimeout(saveNow, 250); }
function flush() { if (saveTimer) saveNow(); }
function saveNow() {
  clearTimeout(saveTimer);
  saveTimer = 0;
  if (!company) return;
  const turns = chat.turns.slice(-TURNS_KEPT);
  if (!keep(chatStorage(), chatKey(), { ...chat, turns })) keep(chatStorage(), chatKey(), { ...chat, turns: turns.slice(-5) });
}

// ----------------------------------------------------------------------------------------------------------- The stream

// An answer of the server that is not the one asked for: a problem document (RFC 9457), or whatever a proxy said instead.
class Problem extends Error {
  static async from(response) {
    const body = await response.json().catch(() => ({}));
    const problem = new Problem(body.title ?? response.statusText);
    problem.status = response.status;
    problem.code = body.code ?? null;
    problem.detail = body.detail ?? null;
    problem.waitMs = retryAfterMs(response.headers.get('Retry-After'));
    return problem;
  }

  get isPassing() { return this.status === 408 || this.status === 425 || this.status === 429 || this.status >= 500; }
}

function retryAfterMs(value) {
  if (!value) return 0;
  const ms = /^\d+$/.test(value) ? value * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 600000) : 0;
}

function request(path, { method = 'GET', headers = {}, body, signal, key = company?.key } = {}) {
  const all = { ...headers };
  if (key) all.Authorization = `Bearer ${key}`;
  if (body) all['Content-Type'] = 'application/json';
  return fetch(API + path, { method, headers: all, body: body && JSON.stringify(body), signal, cache: 'no-store', credentials: 'omit' });
}

// Routes of a turn carry no body that names the company; a key names it, without keys the query does.
const turnPath = (id, verb) => `/turns/${encodeURIComponent(id)}/${verb}${company.key ? '' : `?company_id=${encodeURIComponent(company.id)}`}`;

function ask(turn, signal) {
  return request('/chat-stream', {
    method: 'POST',
    signal,
    // The same key for every try: a question whose answer got lost on the way is not asked twice.
    headers: { Accept: 'text/event-stream', 'Idempotency-Key': turn.key },
    body: {
      message: turn.question, company_id: company.id, industry: company.industry ?? null, session_id: chat.sessionId, language: 'auto',
      user_info: { user_id: null, device_id: null, source: 'web_device' }, context: {},
    },
  });
}

// Always from the first event: the answer is built anew, so it is right even if the server numbers its events otherwise
// since a restart, and a reset in between needs no special case.
const resume = (turn, signal) => request(turnPath(turn.turnId, 'stream'), { signal, headers: { Accept: 'text/event-stream', 'Last-Event-ID': '0' } });

// Server-sent events out of bytes that may be cut anywhere, in the middle of a letter too. An event without its blank line
// did not arrive whole and is left out.
async function* serverSentEvents(body, onBytes) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let id = 0;
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
        if (line === '') {
          if (data.length) yield { id, event: JSON.parse(data.join('\n')) };
          data = [];
        } else if (!line.startsWith(':')) {
          const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
          if (field === 'data') data.push(text);
          if (field === 'id') id = Number(text) || 0;
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Puts one event into what is known of a turn. Unknown types are for newer pages than this one.
function apply(state, id, event) {
  state.lastId = id;
  switch (event.type) {
    case 'start': state.turnId = event.turn_id; break;
    case 'language': state.language = { code: event.code, language: event.language, confidence: event.confidence }; break;
    case 'intent': state.intent = { intent: event.intent, confidence: event.confidence, agent: event.agent }; break;
    case 'sources': state.sources = event.sources; break;
    case 'content': state.answer += event.chunk; break;
    case 'reset': state.answer = ''; break;
    case 'done': Object.assign(state, { status: 'done', finish: event.finish_reason, degraded: event.degraded ?? [] }); break;
    case 'error':
      Object.assign(state, { status: 'failed', error: { kind: event.code === 'not_stored' ? 'not_stored' : 'failed', code: event.code, retryable: event.retryable, again: true } });
  }
}

// ------------------------------------------------------------------------------------------------------ One turn's life

let job = null; // The turn that is being followed: { turn, controller, stopping }

// Follows a turn to its end over as many connections as it takes.
async function follow(turn) {
  const own = { turn, controller: new AbortController(), stopping: false };
  job = own;
  paintBusy();
  announce(t('answering'));
  let tries = 0;
  while (job === own && turn.status === 'running') {
    const before = turn.lastId;
    let problem = null;
    try { await connect(own); } catch (error) { problem = error instanceof Problem ? error : null; }
    if (job !== own) return;
    if (turn.status !== 'running') break;
    if (turn.lastId > before) tries = 0;
    // Before the turn exists the person decides whether to try again; while it runs the page does.
    if (problem && !(problem.isPassing && turn.turnId)) { refuse(turn, problem); break; }
    if (tries === RETRY_WAITS_MS.length) { fail(turn, { kind: 'network', retryable: true }); break; }
    turn.note = navigator.onLine ? 'reconnecting' : 'offline';
    paint(turn);
    await pause(Math.max(RETRY_WAITS_MS[tries] * (0.75 + Math.random() / 2), problem?.waitMs ?? 0));
    if (navigator.onLine) tries += 1;
  }
  if (job !== own) return;
  job = null;
  saveNow();
  paint(turn);
  paintAll();
  paintBusy();
  announce(turn.status === 'done' ? `${t('answer')}: ${viewOf(turn).spokenText()}` : '');
}

// One connection. What it brings is built up apart and shown once it has caught up with what is on the page already.
async function connect(own) {
  const { turn } = own;
  const connection = new AbortController();
  const giveUp = () => connection.abort();
  own.controller.signal.addEventListener('abort', giveUp);
  let watchdog = setTimeout(giveUp, SILENCE_MS);
  const alive = () => { clearTimeout(watchdog); watchdog = setTimeout(giveUp, SILENCE_MS); };
  const again = turn.lastId > 0 || turn.turnId !== null;
  try {
    const response = await (turn.turnId ? resume : ask)(turn, connection.signal);
    if (!response.ok) throw await Problem.from(response);
    const draft = blank();
    for await (const { id, event } of serverSentEvents(response.body, alive)) {
      if (job !== own) return;
      apply(draft, id, event);
      if (draft.turnId && !turn.turnId) turn.turnId = draft.turnId;
      if (own.stopping === 'wanted') stop();
      if (draft.lastId < turn.lastId && draft.status === 'running') continue;
      Object.assign(turn, draft, { note: again ? 'resumed' : null });
      save();
      paint(turn);
      if (draft.status !== 'running') return;
    }
  } finally {
    clearTimeout(watchdog);
    own.controller.signal.removeEventListener('abort', giveUp);
    connection.abort();
  }
}

// Waits, but not longer than until the network comes back; without a network, until then.
function pause(ms) {
  return new Promise((resolve) => {
    const timer = navigator.onLine ? setTimeout(over, ms) : setTimeout(over, 30000);
    function over() { clearTimeout(timer); removeEventListener('online', over); resolve(); }
    addEventListener('online', over);
  });
}

function fail(turn, error) {
  Object.assign(turn, { status: 'failed', error, note: null });
}

const KIND_BY_STATUS = { 401: 'unauthorized', 403: 'forbidden', 404: 'notFound', 413: 'tooLong', 429: 'busy', 503: 'unavailable' };

function refuse(turn, problem) {
  const { status, code, detail } = problem;
  // A 404 for a turn that had begun: the server has forgotten it. A 409: another request used this key, so take a new one.
  const lost = status === 404 && turn.turnId !== null;
  const kind = lost ? 'lost' : KIND_BY_STATUS[status] ?? (status >= 500 ? 'server' : 'invalid');
  const again = lost || status === 409;
  fail(turn, { kind, status, code, detail: lost ? null : detail, retryable: again || problem.isPassing || status === 401, again, notBefore: Date.now() + problem.waitMs });
  if (auth === 'keys' && (status === 401 || status === 403)) showSignIn(t(kind));
}

// A turn that failed on the server is asked anew; one that only the connection lost is followed further.
function retry(turn) {
  if (job || turn !== chat.turns.at(-1)) return;
  if (turn.error?.again) Object.assign(turn, blank(), { key: randomId() });
  Object.assign(turn, { status: 'running', error: null });
  paint(turn);
  follow(turn);
}

function send(text) {
  const question = text.normalize('NFC').trim();
  if (!company || job || !question || [...question].length > MAX_CHARACTERS) return false;
  const turn = newTurn(question);
  chat.turns.push(turn);
  saveNow(); // Before the request leaves, so that even a reload right now finds the question and its key.
  append(turn);
  stickToEnd();
  follow(turn);
  return true;
}

// Asks the server to stop; the stream then ends by itself with what it had written. Before the turn has an id the wish waits.
async function stop() {
  const own = job;
  if (!own || own.stopping === true) return;
  own.stopping = own.turn.turnId ? true : 'wanted';
  paint(own.turn);
  paintBusy();
  if (own.stopping === 'wanted') {
    if (!own.turn.note) return;
    // There is no connection to stop at, so it ends here.
    leave();
    fail(own.turn, { kind: 'network', retryable: true });
    saveNow();
    paint(own.turn);
    return;
  }
  try {
    const response = await request(turnPath(own.turn.turnId, 'stop'), { method: 'POST' });
    if (!response.ok && response.status !== 404) throw await Problem.from(response);
  } catch {
    // The server can't be told. Leaving is the next best: it ends answers that nobody reads.
    if (job !== own) return;
    leave();
    Object.assign(own.turn, { status: 'done', finish: 'interrupted', note: null });
    saveNow();
    paint(own.turn);
  }
}

// Stops following, without a word to the server.
function leave() {
  job?.controller.abort();
  job = null;
  paintBusy();
}

// ------------------------------------------------------------------------------------------------------------- Markdown

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Only addresses that a browser opens as pages: `javascript:` and its like become text.
function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch { return null; }
}

const outward = (href, ...children) => el('a', { href, target: '_blank', rel: 'noopener noreferrer' }, ...children);

// Cut at blank lines outside code fences. Chunks that did not change are not drawn again while the answer grows.
function chunksOf(text) {
  const chunks = [];
  let lines = [];
  let fenced = false;
  for (const line of text.split('\n')) {
    if (/^\s*```/.test(line)) fenced = !fenced;
    if (line.trim() === '' && !fenced) {
      if (lines.length) chunks.push(lines.join('\n'));
      lines = [];
    } else lines.push(line);
  }
  if (lines.length) chunks.push(lines.join('\n'));
  return chunks;
}

const ITEM = /^(\s*)(?:[-*+•]|(\d{1,4})[.)])\s+(.*)$/;
const RULE = /^\s*([-*_])(\s*\1){2,}\s*$/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const cellsOf = (line) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());
const startsBlock = (line) => ITEM.test(line) || RULE.test(line) || /^\s*(#{1,6}\s|>|```|\|)/.test(line);

// The blocks of one chunk. `cite(n)` makes the mark of a citation, or nothing where there is no such source.
function blocksOf(lines, cite) {
  const blocks = [];
  let i = 0;
  const takeWhile = (test) => { const from = i; while (i < lines.length && test(lines[i])) i += 1; return lines.slice(from, i); };
  while (i < lines.length) {
    const line = lines[i];
    const heading = /^\s*(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    const item = ITEM.exec(line);
    if (/^\s*```/.test(line)) {
      i += 1;
      const code = takeWhile((next) => !/^\s*```/.test(next));
      i += 1;
      blocks.push(el('pre', { tabindex: 0 }, el('code', {}, code.join('\n'))));
    } else if (RULE.test(line)) {
      i += 1;
      blocks.push(el('hr'));
    } else if (heading) {
      i += 1;
      blocks.push(el(heading[1].length < 3 ? 'h2' : 'h3', {}, ...inline(heading[2], cite)));
    } else if (/^\s*>/.test(line)) {
      const quoted = takeWhile((next) => /^\s*>/.test(next)).map((next) => next.replace(/^\s*> ?/, ''));
      blocks.push(el('blockquote', {}, ...chunksOf(quoted.join('\n')).flatMap((chunk) => blocksOf(chunk.split('\n'), cite))));
    } else if (item) {
      const ordered = item[2] !== undefined;
      const indent = item[1].length;
      const list = el(ordered ? 'ol' : 'ul', { start: ordered && item[2] !== '1' ? item[2] : null });
      for (let match = item; match && match[1].length <= indent && (match[2] !== undefined) === ordered; match = i < lines.length ? ITEM.exec(lines[i]) : null) {
        i += 1;
        const inside = takeWhile((next) => /^\s+\S/.test(next) && next.search(/\S/) > indent).map((next) => next.trimStart());
        list.append(el('li', {}, ...inline(match[3], cite), ...blocksOf(inside, cite)));
      }
      blocks.push(list);
    } else if (line.includes('|') && i + 1 < lines.length && lines[i + 1].includes('|') && TABLE_LINE.test(lines[i + 1])) {
      i += 2;
      const row = (tag) => (text) => el('tr', {}, ...cellsOf(text).map((cell) => el(tag, {}, ...inline(cell, cite))));
      // A row of which only the frame has arrived is not drawn yet.
      const rows = takeWhile((next) => next.includes('|')).filter((next) => /[^|\s]/.test(next)).map(row('td'));
      blocks.push(el('div', { class: 'table', tabindex: 0 }, el('table', {}, el('thead', {}, row('th')(line)), el('tbody', {}, ...rows))));
    } else {
      const text = [line, ...(i += 1, takeWhile((next) => !startsBlock(next)))];
      blocks.push(el('p', {}, ...text.flatMap((part, n) => (n ? [el('br'), ...inline(part, cite)] : inline(part, cite)))));
    }
  }
  return blocks;
}

const INLINE = /\\([\\`*_[\]|#>-])|`([^`]+)`|\*\*(?=\S)(.+?)\*\*|\*(?=[^\s*])(.+?)\*|\[(\d{1,3})\](?!\()|!?\[([^\]]*)\]\(([^\s)]+)\)|(https?:\/\/[^\s<>]*[^\s<>.,;:!?)\]'"»”])/gu;

function inline(text, cite) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const [all, escaped, code, bold, italic, number, label, target, address] = match;
    let node = all;
    if (escaped !== undefined) node = escaped;
    else if (code !== undefined) node = el('code', {}, code);
    else if (bold !== undefined) node = el('strong', {}, ...inline(bold, cite));
    else if (italic !== undefined) node = el('em', {}, ...inline(italic, cite));
    else if (number !== undefined) node = cite?.(Number(number)) ?? all;
    else if (target !== undefined) node = webAddress(target) ? outward(webAddress(target), label || target) : label || all;
    else if (webAddress(address)) node = outward(webAddress(address), address);
    nodes.push(text.slice(from, match.index), node);
    from = match.index + all.length;
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== '');
}

// ------------------------------------------------------------------------------------------------------------- The view

const $ = (id) => document.getElementById(id);
const scroller = $('scroller');
const views = new Map(); // turn -> View

// One turn on the page. `paint` brings it into line with the turn, whatever changed, and leaves alone what did not.
class View {
  constructor(turn) {
    this.turn = turn;
    this.drawn = []; // the chunks of the answer as they stand on the page
    this.user = el('article', { class: 'user', 'data-testid': 'message-user' }, turn.question);
    const stage = (name) => el('span', { 'data-testid': `stage-${name}` });
    this.language = stage('language');
    this.intent = stage('intent');
    this.found = stage('sources');
    this.trail = el('span');
    this.phase = el('span', { class: 'phase' });
    this.answer = el('div', { class: 'answer', 'data-testid': 'answer-text' });
    this.sources = el('section', { class: 'sources', 'data-testid': 'sources' });
    this.notes = el('div', { class: 'notes' });
    this.problem = el('div', { class: 'problem', role: 'alert', 'data-testid': 'error' });
    this.stages = el('div', { class: 'stages' });
    this.assistant = el('article', { class: 'assistant', 'data-testid': 'message-assistant' });
    this.paint();
  }

  paint() {
    const { turn, assistant } = this;
    const running = turn.status === 'running';
    this.user.setAttribute('aria-label', t('you'));
    assistant.setAttribute('aria-label', t('answer'));
    assistant.setAttribute('aria-busy', running);
    assistant.dataset.status = turn.status;
    assistant.dataset.finish = turn.finish ?? '';
    assistant.classList.toggle('running', running);
    if (turn.language) {
      this.user.lang = turn.language.code;
      this.answer.lang = turn.language.code;
    }
    this.paintStages(running);
    this.paintSources();
    this.paintAnswer(running);
    this.paintNotes();
    this.paintProblem();
    arrange(assistant, [this.stages, this.answer, this.sources, this.notes, this.problem].filter(isFilled));
  }

  paintStages(running) {
    const { language: spoken, intent, sources, answer } = this.turn;
    say(this.language, spoken && `${languageName(spoken)} ${decimal(spoken.confidence)}`, { code: spoken?.code });
    say(this.intent, intent && (TEXTS[language].intents[intent.intent] ?? intent.intent.replaceAll('_', ' ')), { intent: intent?.intent });
    if (intent) this.intent.title = `${decimal(intent.confidence)} · ${intent.agent}`;
    const count = sources?.length;
    say(this.found, sources && (count < 2 ? t(`sources${count}`) : t('sourcesN', { n: count })), { count });
    const phase = job?.stopping && job.turn === this.turn ? 'stopping' : !spoken ? 'reading' : !sources ? 'searching' : 'writing';
    say(this.phase, running && (phase === 'stopping' || answer === '') ? t(phase) : '');
    arrange(this.trail, [this.language, this.intent, this.found].filter(isFilled));
    arrange(this.stages, [this.trail, this.phase].filter(isFilled));
  }

  paintSources() {
    const { sources } = this.turn;
    const made = sources?.length && `${language} ${JSON.stringify(sources)}`;
    if (made === this.sourcesMade) return;
    this.sourcesMade = made;
    this.drawn = []; // the citations name the sources
    this.cards = new Map(sources?.map((source) => [source.n, sourceCard(source)]));
    const items = [...this.cards.values()].map((card) => el('li', {}, card));
    this.sources.replaceChildren(...(made ? [el('h2', {}, t('sources')), el('ol', {}, ...items)] : []));
  }

  paintAnswer(running) {
    // A citation that has only half arrived waits for its other half.
    const text = running ? this.turn.answer.replace(/\[\d{0,3}$/, '') : this.turn.answer;
    const chunks = chunksOf(text);
    chunks.forEach((chunk, i) => {
      if (this.drawn[i] === chunk) return;
      const node = el('div', { class: 'chunk' }, ...blocksOf(chunk.split('\n'), (n) => this.citation(n)));
      if (this.answer.children[i]) this.answer.children[i].replaceWith(node);
      else this.answer.append(node);
    });
    while (this.answer.children.length > chunks.length) this.answer.lastChild.remove();
    this.drawn = chunks;
  }

  citation(n) {
    const source = this.turn.sources?.find((candidate) => candidate.n === n);
    return source && el('button', { class: 'cite', type: 'button', 'aria-label': t('source', source), title: source.title, 'data-n': n, onclick: () => this.open(n) }, String(n));
  }

  open(n) {
    const card = this.cards.get(n);
    card.open = true;
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    card.scrollIntoView({ block: 'nearest', behavior: calm ? 'auto' : 'smooth' });
    card.querySelector('summary').focus({ preventScroll: true });
    card.classList.add('lit');
    setTimeout(() => card.classList.remove('lit'), 1600);
  }

  paintNotes() {
    const { status, note, finish, degraded, answer } = this.turn;
    const lines = [];
    if (note) lines.push(el('p', { 'data-testid': 'resume-note' }, t(note)));
    if (['stopped', 'length', 'content_filter', 'interrupted'].includes(finish)) lines.push(el('p', { 'data-testid': 'finish-note' }, t(finish)));
    else if (status === 'done' && answer === '') lines.push(el('p', {}, t('empty')));
    const parts = degraded.map((part) => (part in TEXTS.en ? t(part) : part)).join('; ');
    if (parts) lines.push(el('p', { 'data-testid': 'degraded' }, t('degraded', { parts })));
    const made = lines.map((line) => line.textContent).join('\n');
    if (made !== this.notesMade) this.notes.replaceChildren(...lines);
    this.notesMade = made;
  }

  paintProblem() {
    const { error } = this.turn;
    const last = this.turn === chat.turns.at(-1);
    const made = error && `${language} ${last} ${JSON.stringify(error)}`;
    if (made === this.problemMade) return;
    this.problemMade = made;
    this.problem.replaceChildren(...(error ? problemParts(error, last && (() => retry(this.turn))) : []));
  }

  spokenText() {
    return [...this.answer.querySelectorAll('p, li, th, td, h2, h3, code')].filter((node) => !node.parentElement.closest('p, li, td')).map((node) => node.textContent).join('\n') || t('empty');
  }
}

function say(node, text, data = {}) {
  if (node.textContent !== (text || '')) node.textContent = text || '';
  for (const [name, value] of Object.entries(data)) if (value !== undefined) node.dataset[name] = value;
}

const isFilled = (node) => node.hasChildNodes();

// Puts exactly these children into their parent and moves none that is in its place, which would play its arrival again.
function arrange(parent, children) {
  for (const child of [...parent.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, i) => { if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null); });
}

function sourceCard(source) {
  const href = source.url && webAddress(source.url);
  return el('details', { class: 'source', 'data-testid': 'source-item', 'data-n': source.n },
    el('summary', { 'aria-label': t('source', source) },
      el('span', { class: 'n', 'aria-hidden': 'true' }, String(source.n)), el('span', { class: 'title' }, source.title),
      el('span', { class: 'score', title: t('relevance', { n: decimal(source.score) }) }, decimal(source.score))),
    el('div', { class: 'inside' },
      el('div', { class: 'answer' }, ...chunksOf(source.snippet ?? '').map((chunk) => el('div', { class: 'chunk' }, ...blocksOf(chunk.split('\n'))))),
      ...(href ? [outward(href, t('read'), el('span', { class: 'unseen' }, ` ${t('newWindow')}`))] : [])));
}

// What went wrong, in the reader's language; the server's own words, which are English, below it; and a button where it helps.
function problemParts({ kind, detail, code, retryable, notBefore = 0 }, again) {
  const parts = [el('p', {}, t(kind))];
  const small = [detail, code && `${t('code')}: ${code}`].filter(Boolean).join(' · ');
  if (small) parts.push(el('p', { class: 'detail', lang: 'en' }, small));
  if (retryable && again) {
    const button = el('button', { type: 'button', 'data-testid': 'retry', onclick: again });
    const tick = () => {
      const seconds = Math.ceil((notBefore - Date.now()) / 1000);
      button.disabled = seconds > 0;
      button.textContent = seconds > 0 ? t('retryIn', { n: seconds }) : t('retry');
      if (seconds > 0) setTimeout(() => button.isConnected && tick(), 250);
    };
    // The button is on the page by the first tick that looks.
    tick();
    parts.push(button);
  }
  return parts;
}

const viewOf = (turn) => views.get(turn);

function append(turn) {
  const view = new View(turn);
  views.set(turn, view);
  $('log').append(view.user, view.assistant);
  $('welcome').hidden = true;
  for (const earlier of chat.turns.slice(-2, -1)) viewOf(earlier)?.paint(); // Only the last turn can be tried again.
}

// Many events between two frames are one painting.
const toPaint = new Set();
function paint(turn) {
  if (toPaint.size === 0) requestAnimationFrame(paintAll);
  toPaint.add(turn);
}
function paintAll() {
  const stuck = isAtEnd;
  for (const turn of toPaint) viewOf(turn)?.paint();
  toPaint.clear();
  if (stuck) stickToEnd();
  paintJump();
}

// The page follows the answer only for as long as the reader is at its end.
let isAtEnd = true;
const stickToEnd = () => { isAtEnd = true; scroller.scrollTop = scroller.scrollHeight; };
const paintJump = () => { $('jump').hidden = isAtEnd || $('log').childElementCount === 0; };
function noteScroll() {
  isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  paintJump();
}

let announced = '';
function announce(text) {
  if (text !== announced) $('announcer').textContent = text;
  announced = text;
}

// ------------------------------------------------------------------------------------------------------------- The page

const composer = $('composer');
const canType = () => company !== null && $('sign-in').hidden && $('page-error').hidden;

function paintBusy() {
  const hadFocus = document.activeElement === $('send') || document.activeElement === $('stop');
  $('send').hidden = job !== null;
  $('stop').hidden = job === null;
  $('stop').disabled = job?.stopping === true;
  if (hadFocus) (job ? $('stop') : $('send')).focus({ preventScroll: true }); // Where the composer would open a keyboard, the button keeps it.
  if (hadFocus) focusComposer();
  paintComposer();
}

function paintComposer() {
  const count = [...composer.value.normalize('NFC').trim()].length;
  const counter = $('counter');
  counter.hidden = count < COUNT_FROM;
  counter.textContent = counter.hidden ? '' : t('counter', { n: whole(count), max: whole(MAX_CHARACTERS) });
  counter.classList.toggle('over', count > MAX_CHARACTERS);
  composer.setAttribute('aria-invalid', count > MAX_CHARACTERS);
  composer.disabled = !canType();
  $('send').disabled = !canType() || count === 0 || count > MAX_CHARACTERS;
}

function growComposer() {
  composer.style.height = 'auto';
  composer.style.height = `${composer.scrollHeight + composer.offsetHeight - composer.clientHeight}px`;
  if (isAtEnd) stickToEnd();
}

function submit() {
  if (!send(composer.value)) return;
  composer.value = '';
  growComposer();
  paintComposer();
}

// On a touch screen focus opens the keyboard, which hides what one came to read.
const focusComposer = () => { if (matchMedia('(pointer: fine)').matches) composer.focus({ preventScroll: true }); };

function paintPage() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll('[data-label]')) {
    node.setAttribute('aria-label', t(node.dataset.label));
    if (node.matches('button')) node.title = t(node.dataset.label);
  }
  composer.placeholder = t('placeholder');
  $('lang-toggle').textContent = t('otherLanguage');
  $('lang-toggle').lang = language === 'en' ? 'vi' : 'en';
  const name = company?.name ?? '';
  document.title = name ? `${name} · Turnpike` : 'Turnpike';
  $('company-name').textContent = name;
  $('company-name').title = name;
  $('welcome-name').textContent = name;
  $('company-choice').hidden = companies.length < 2;
  $('company-name').classList.toggle('unseen', companies.length > 1);
  $('change-key').hidden = auth !== 'keys' || !company;
  $('questions').replaceChildren(...(company?.questions ?? []).map((question) => el('li', {}, el('button', { type: 'button', onclick: () => { if (send(question)) focusComposer(); } }, question))));
  for (const turn of chat.turns) viewOf(turn)?.paint();
  paintComposer();
}

// Shows the conversation that is kept for the company and goes on with what was running when the page went away.
function openChat() {
  leave();
  const kept = recall(chatStorage(), chatKey());
  chat = kept?.sessionId && Array.isArray(kept.turns) ? kept : newChat();
  views.clear();
  $('log').replaceChildren();
  $('sign-in').hidden = true;
  $('page-error').hidden = true;
  $('welcome').hidden = chat.turns.length > 0;
  for (const turn of chat.turns) { Object.assign(turn, { ...blank(), ...turn, note: null }); append(turn); }
  paintPage();
  stickToEnd();
  const last = chat.turns.at(-1);
  if (last?.status === 'running') follow(last);
}

function openCompany(next) {
  flush();
  leave();
  company = next;
  keep('localStorage', 'turnpike.company', auth === 'open' ? next.id : null);
  openChat();
  focusComposer();
}

function beginNewChat() {
  if (!company) return;
  stop();
  leave();
  chat = newChat();
  saveNow();
  openChat();
  announce(t('newChat'));
  composer.focus({ preventScroll: true });
}

function showSignIn(reason = '') {
  $('sign-in').hidden = false;
  $('welcome').hidden = true;
  $('sign-in-company').value ||= company?.id ?? '';
  $('sign-in-error').textContent = reason;
  $('sign-in-error').hidden = !reason;
  paintPage();
  scroller.scrollTop = 0;
  $($('sign-in-company').value ? 'sign-in-key' : 'sign-in-company').focus();
}

async function signIn() {
  const id = $('sign-in-company').value.trim();
  const key = $('sign-in-key').value.trim();
  if (!id || !key) { showSignIn(t('signInBoth')); return; }
  $('sign-in-key').value = '';
  keep('sessionStorage', 'turnpike.key', { id, key });
  openCompany(await described({ id, key }));
}

// The server may tell more of a company to whoever holds its key.
async function described({ id, key }) {
  const listed = await listCompanies(key).catch(() => null);
  return { id, name: id, ...listed?.companies.find((one) => one.id === id), key };
}

async function listCompanies(key) {
  const response = await request('/companies', { key });
  if (!response.ok) throw await Problem.from(response);
  return response.json();
}

async function open() {
  $('page-error').hidden = true;
  try {
    ({ auth, companies } = await listCompanies());
  } catch (error) {
    const { status, detail, code, waitMs = 0 } = error;
    const kind = KIND_BY_STATUS[status] ?? 'pageFailed';
    pageError({ kind: kind === 'notFound' ? 'server' : kind, detail, code, retryable: true, notBefore: Date.now() + waitMs });
    return;
  }
  if (auth === 'keys') {
    const known = recall('sessionStorage', 'turnpike.key');
    if (known) openCompany(await described(known));
    else showSignIn();
    return;
  }
  const wanted = new URLSearchParams(location.search).get('company_id') ?? recall('localStorage', 'turnpike.company');
  $('company-choice').replaceChildren(...companies.map(({ id, name }) => el('option', { value: id }, name)));
  const chosen = companies.find(({ id }) => id === wanted) ?? companies[0];
  if (!chosen) { pageError({ kind: 'noCompanies', retryable: true }); return; }
  $('company-choice').value = chosen.id;
  openCompany(chosen);
}

let lastPageError = null;
function pageError(error) {
  lastPageError = error;
  $('page-error').hidden = false;
  $('page-error').replaceChildren(el('div', { class: 'problem', role: 'alert', 'data-testid': 'error' }, ...problemParts(error, open)));
  paintPage();
}

function toggleLanguage() {
  language = language === 'en' ? 'vi' : 'en';
  keep('localStorage', 'turnpike.language', language);
  if (!$('page-error').hidden) pageError(lastPageError);
  paintPage();
}

$('form').addEventListener('submit', (event) => { event.preventDefault(); submit(); });
$('sign-in').addEventListener('submit', (event) => { event.preventDefault(); signIn(); });
$('stop').addEventListener('click', stop);
$('new-chat').addEventListener('click', beginNewChat);
$('lang-toggle').addEventListener('click', toggleLanguage);
$('jump').addEventListener('click', stickToEnd);
$('company-choice').addEventListener('change', (event) => openCompany(companies.find(({ id }) => id === event.target.value)));
$('change-key').addEventListener('click', () => {
  flush();
  leave();
  // Whoever comes next with another key finds nothing of this one's.
  drop('sessionStorage', 'turnpike.key');
  drop('sessionStorage', chatKey());
  company = null;
  chat = newChat();
  views.clear();
  $('log').replaceChildren();
  showSignIn();
});
composer.addEventListener('input', () => { growComposer(); paintComposer(); });
composer.addEventListener('keydown', (event) => {
  // Enter that ends a composition belongs to the input method: Vietnamese and Chinese are typed with one.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
addEventListener('keydown', (event) => { if (event.key === 'Escape' && !event.isComposing && job) stop(); });
scroller.addEventListener('scroll', noteScroll, { passive: true });
new ResizeObserver(() => { if (isAtEnd) stickToEnd(); }).observe(scroller);
addEventListener('pagehide', flush);

// Another tab of this browser went on with the same conversation: take it over when the reader comes back to this one.
let isStale = false;
addEventListener('storage', (event) => { if (company && event.key === chatKey()) isStale = true; });
addEventListener('focus', () => { if (isStale && !job && company && auth === 'open') openChat(); isStale = false; });

// Where the on-screen keyboard covers the page instead of shrinking it (Safari), the page is made as tall as what is seen.
const seen = window.visualViewport;
seen?.addEventListener('resize', () => {
  if (seen.scale > 1.01) return;
  document.documentElement.style.setProperty('--height', `${seen.height}px`);
  window.scrollTo(0, 0);
});

const wished = recall('localStorage', 'turnpike.language');
language = wished in TEXTS ? wished : navigator.languages.map((tag) => tag.slice(0, 2)).find((code) => code in TEXTS) ?? 'en';
paintPage();
open();
