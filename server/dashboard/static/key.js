// The API key: asked for where the gateway wants one, and kept in this tab only.

const NAME = "key";
const form = document.getElementById("login");

export function headers() {
  const key = sessionStorage.getItem(NAME);
  return key ? { authorization: `Bearer ${key}` } : {};
}

// Show the form; tells whether a key was refused, which is forgotten.
export function ask() {
  const refused = sessionStorage.getItem(NAME) !== null;
  sessionStorage.removeItem(NAME);
  form.hidden = false;
  form.elements.key.focus();
  return refused;
}

export function close() {
  form.hidden = true;
}

export function onEntered(act) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(NAME, form.elements.key.value.trim());
    form.elements.key.value = "";
    act();
  });
}
