"use strict";

const folded = (text) => text.normalize("NFKC").toLowerCase().replace(/[“”"'‘’?!,;:()]/g, " ")
  .replace(/[−–]/g, "-").replace(/[·×]/g, "*").replace(/\s+/g, " ").trim();
const SMALL = /^(the|is|a|an|of|do|does|what|which)$/;

// The entries that have every word of a query, those with the words in their ids and titles first.
const matching = (entries, query) => {
  const all = folded(query).split(" ").filter(Boolean);
  const telling = all.filter((word) => !SMALL.test(word));
  const words = telling.length ? telling : all;
  const weight = (entry) => {
    let sum = 0;
    for (const word of words) {
      if (entry.id === word) sum += 8;
      else if (entry.id.startsWith(word)) sum += 4;
      else if (entry.title.includes(word)) sum += 3;
      else if (entry.text.includes(word)) sum += 1;
      else return 0;
    }
    return sum;
  };
  const found = entries.map((entry) => [weight(entry), entry]).filter(([sum]) => sum > 0);
  return found.sort(([one], [other]) => other - one).map(([, entry]) => entry);
};

const begin = () => {
  const field = document.getElementById("search");
  const list = document.getElementById("found");
  const contents = document.getElementById("contents");
  let entries = null;

  const entry = (target, id, shown, text) =>
    ({target, shown, id: folded(id), title: folded(shown), text: folded(text)});
  const read = () => [
    ...[...document.querySelectorAll(".question")].map((item) =>
      entry(item.id, "", item.textContent.split("?")[0] + "?", "")),
    ...[...document.querySelectorAll("section.clause")].map((clause) =>
      entry(clause.id, clause.id, clause.querySelector("h5").textContent, clause.textContent)),
    ...[...document.querySelectorAll("section.chapter")].map((chapter) =>
      entry(chapter.id, "", chapter.querySelector("h2").textContent.replace("#", ""), "")),
  ];
  const show = () => {
    entries ??= read();
    const found = matching(entries, field.value).slice(0, 60);
    const asked = field.value.trim() !== "";
    contents.hidden = asked;
    list.hidden = !asked;
    list.replaceChildren(...found.map(({target, shown}) => {
      const link = document.createElement("a");
      link.href = "#" + target;
      link.textContent = shown;
      const item = document.createElement("li");
      item.append(link);
      return item;
    }));
    if (asked && !found.length) list.textContent = "nothing has all these words";
  };

  field.hidden = false;
  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") field.value = "", show();
    if (event.key === "Enter") list.querySelector("a")?.click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input") || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    field.focus();
  });
};

if (typeof document !== "undefined") begin();
