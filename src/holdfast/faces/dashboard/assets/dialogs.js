// One dialog at a time: a form in a <dialog>, which keeps the keyboard inside, closes on Escape and gives the focus back.

import { el } from "./dom.js";

/**
 * Ask something. `act` gets the form's values; where it throws, the dialog stays and says why.
 * @param {{title: (Node | string)[], body: (Node | null)[], confirm: string, isDanger?: boolean, cancel?: string,
 *   act: (values: FormData) => Promise<void>}} question
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, body, confirm, isDanger = false, cancel = "Cancel", act }) {
  const heading = el("h2", { id: "dialog-title" }, ...title);
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const button = /** @type {HTMLButtonElement} */ (el("button", { type: "submit", class: isDanger ? "danger" : "main" }, confirm));
  const leave = el("button", { type: "button", onclick: () => dialog.close() }, cancel);
  const form = /** @type {HTMLFormElement} */ (
    el("form", { method: "dialog" }, heading, ...body, problem, el("div", { class: "actions" }, cancel && leave, button))
  );
  const dialog = /** @type {HTMLDialogElement} */ (el("dialog", { "aria-labelledby": "dialog-title" }, form));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await act(new FormData(form));
      dialog.close();
    } catch (error) {
      problem.textContent = error instanceof Error ? error.message : String(error);
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * A field with its label and a line of explanation.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string | Node} [note]
 */
export function field(label, input, note) {
  const id = `field-${input.getAttribute("name")}`;
  input.id = id;
  if (!note) return el("div", { class: "field" }, el("label", { for: id }, label), input);
  input.setAttribute("aria-describedby", `${id}-note`);
  return el("div", { class: "field" }, el("label", { for: id }, label), input, el("small", { id: `${id}-note` }, note));
}

/**
 * A radio button or box with its label, and what belongs to it.
 * @param {{type: "radio" | "checkbox", name: string, value: string, checked?: boolean, required?: boolean}} attributes
 * @param {string} label
 * @param {...Node} more
 */
export function choice(attributes, label, ...more) {
  const id = `choice-${attributes.name}-${attributes.value}`;
  return el("div", { class: "choice" }, el("input", { id, ...attributes }), el("label", { for: id }, label), ...more);
}
