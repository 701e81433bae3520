"use strict";
(() => {
  const form = document.getElementById("filter");
  const clauses = [...document.querySelectorAll("tr[data-clause]")];
  const failures = [...document.querySelectorAll("article[data-clause]")];
  const entries = [...document.querySelectorAll("[data-entry]")];
  const selects = [...form.querySelectorAll("select")];

  const show = () => {
    const wanted = selects.filter((select) => select.value).map((select) => [select.name, select.value]);
    const matches = (element) => wanted.every(([name, value]) => element.dataset[name] === value);
    const found = new Set();
    for (const row of clauses) {
      row.hidden = !matches(row);
      if (!row.hidden) found.add(row.dataset.operation + " " + row.dataset.dtype);
    }
    for (const failure of failures) failure.hidden = !matches(failure);
    for (const entry of entries) entry.hidden = !found.has(entry.dataset.entry);
    const count = clauses.filter((row) => !row.hidden).length;
    document.getElementById("count").textContent = count + " of " + clauses.length + " checks";
  };

  const copy = async (button) => {
    const script = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(script.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(script);
      button.textContent = document.execCommand("copy") ? "copied" : "press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  };

  // A link to what is folded unfolds it.
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    if (target) target.scrollIntoView();
  };

  form.hidden = false;
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  addEventListener("hashchange", unfold);
  show();
  if (location.hash) unfold();
})();
