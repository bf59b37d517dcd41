/* Dead letters of this process: why, where from, and the bytes, shown as text and as hexadecimal digits. */
import {
  address,
  ask,
  askIfAny,
  backLink,
  byId,
  element,
  facts,
  fill,
  fillSelect,
  goneNodes,
  integer,
  isWide,
  process,
  query,
  showList,
  sizeText,
  timeNode
} from "./parts.js";

const PAGE = 50;
const STAGES = {
  decode: "could not be decoded",
  clean: "cleaning refused it",
  late: "too late",
  sink: "a sink refused the document"
};

const section = byId("letters");
const topics = new Set();

const placeText = (letter) =>
    `${letter.topic || letter.source || ""} ${letter.partition} @ ${letter.offset}`.trim();

function rowNode(letter, values) {
  return element("a", {href: address("letters", {...values, id: String(letter.id)}), class: "row"},
      element("span", {class: "first"},
          element("b", {}, letter.sink ? `sink ${letter.sink}` : placeText(letter)),
          element("span", {class: "when"}, timeNode(letter.at))),
      element("span", {class: "second"}, element("span", {class: "state"}, letter.stage),
          element("span", {class: "text"}, letter.reason)));
}

/* Sixteen bytes a row: place, digits, what is printable. */
function hexText(digits) {
  const bytes = (digits.match(/../g) || []).map((pair) => parseInt(pair, 16)), rows = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.slice(at, at + 16);
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const text = part.map((byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".").join("");
    rows.push(`${at.toString(16).padStart(4, "0")}  ${hex}  ${text}`);
  }
  return rows.join("\n");
}

function bytesNodes(title, text, bytes) {
  if (!text) return [];
  return [
    element("h3", {}, `${title} (${sizeText(bytes)})`),
    element("pre", {tabindex: "0", "aria-label": title}, text)
  ];
}

function hexNodes(letter) {
  if (!letter.payload_hex) return [];
  const whole = letter.payload_bytes * 2 === letter.payload_hex.length;
  return [
    element("h3", {}, whole ? "Its bytes" : "Its first bytes"),
    element("pre", {class: "hex", tabindex: "0", "aria-label": "Bytes"}, hexText(letter.payload_hex))
  ];
}

function detailNodes(letter, values) {
  return [
    backLink("letters", values), element("h2", {}, `Dead letter ${letter.id}`),
    element("p", {class: "badges"}, element("span", {class: "badge"}, STAGES[letter.stage] || letter.stage)),
    element("p", {class: "summary"}, letter.reason), facts([
      ["At", timeNode(letter.at)], ["Source", letter.source], ["Topic", letter.topic],
      ["Partition", String(letter.partition)], ["Offset", String(letter.offset)],
      ["Item", String(letter.item)], ["Sink", letter.sink],
      ["In a shell", element("code", {}, `weir dead-letters show ${letter.id}`)]
    ]),
    ...bytesNodes("Payload", letter.payload, letter.payload_bytes), ...hexNodes(letter),
    ...bytesNodes("Document", letter.document, letter.document_bytes)
  ];
}

/* "Show older" asks for pages before the last letter shown; a new list begins anew. */
async function loadPages({text, stage, topic}, pages) {
  const list = [];
  let more = true;
  for (let page = 0; page < pages && more; page++) {
    const {told} =
        await ask("/api/dead-letters?" + query({text, stage, topic, before: list.at(-1)?.id, limit: PAGE}));
    list.push(...told);
    more = told.length === PAGE;
  }
  return {list, more};
}

export const letters = {
  section,
  amount: {reset() { this.pages = 1;}, more() { this.pages++;}},

  async load(values, amount) {
    const {list, more} = await loadPages(values, amount.pages);
    const id = values.id || (isWide() && list[0] ? String(list[0].id) : undefined);
    return {
      list,
      more,
      id,
      letter: id ? await askIfAny(`/api/dead-letters/${encodeURIComponent(id)}`) : undefined
    };
  },

  show({list, more, id, letter}, values) {
    for (const one of list)
      if (one.topic) topics.add(one.topic);
    fillSelect(section.querySelector("[name=topic]"), topics, values.topic);
    showList(section, list, {
      key: (one) => one.id,
      chosen: id,
      build: (one) => rowNode(one, values),
      total: list.length + more,
      awaited: "No dead letters. What cannot be decoded, cleaned or delivered is kept here with its reason.",
      filtered: Boolean(values.text || values.stage || values.topic)
    });
    const count = list.length ? integer.format(list.length) + (more ? ", there are more" : "") : "";
    section.querySelector(".shown").textContent =
        process.shared ? `${count} Only of this process: others of the cluster have their own.` : count;
    fill(section.querySelector(".told"), [letter, id, values], () => {
      if (letter) return detailNodes(letter, values);
      return id ? goneNodes("letters", values, "There is no such letter any more.") : [];
    });
  }
};
