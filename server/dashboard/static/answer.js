// The card of one answer: decision, tokens, thoughts and text, drawn while they stream.

import { colour, count, difference, seconds, sentence, source, whole } from "./words.js";

export class Answer {
  constructor(heading, baseline) {
    this.baseline = baseline;
    this.begun = performance.now();
    this.thinking = 0; // chunks until the engine's count arrives, which is exact
    this.budget = this.expected = this.firstText = this.seconds = null;
    this.effort = "auto";
    this.finish = null;
    this.element = make("article", "card answer");
    this.element.setAttribute("aria-busy", "true");
    const header = add(this.element, "header");
    this.heading = add(header, "h2", "", heading);
    this.time = add(header, "p", "time");
    this.reason = add(this.element, "p", "reason", "Waiting for the decision…");
    this.meter = add(this.element, "div", "meter");
    this.bars = add(this.meter, "dl");
    this.thoughts = add(this.element, "details", "thoughts");
    this.thoughts.open = true;
    this.summary = add(this.thoughts, "summary", "", "Thoughts");
    this.thought = add(this.thoughts, "div");
    this.thought.tabIndex = 0;
    this.thought.setAttribute("role", "region");
    this.thought.setAttribute("aria-label", `Thoughts, ${heading}`);
    this.follows = true; // until the reader scrolls up
    this.thought.addEventListener("scroll", ({ target }) => {
      this.follows = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
    });
    const text = add(this.element, "div", "text");
    add(text, "h3", "", "Answer");
    this.text = add(text, "p", "waiting", "…");
    this.after = add(this.element, "div", "after");
    this.draw();
  }

  take(part) {
    if (part.decision) this.decide(part.decision);
    if (part.thought) {
      this.thinking += 1;
      write(this.thought, part.thought);
    }
    if (part.text) {
      this.firstText ??= this.elapsed();
      if (this.text.className) this.text.replaceChildren();
      this.text.className = "";
      write(this.text, part.text);
    }
    if (part.finish) this.finish = part.finish;
    if (part.tops) this.count(part.tops);
  }

  decide({ effort, source: by, reason, budget, isCalibrated }) {
    this.effort = effort ?? "auto";
    this.budget = budget;
    this.heading.replaceChildren();
    const pill = add(this.heading, "span", `pill ${colour(this.effort)}`);
    add(pill, "span", "swatch");
    pill.append(effort ?? "two attempts");
    this.heading.append(source(by));
    const doubt = isCalibrated ? "" : " The router was not fitted on this model.";
    this.reason.textContent = reason ? sentence(reason) + doubt : doubt;
  }

  count(tops) {
    this.thinking = tops.thinking_tokens ?? this.thinking;
    this.expected = tops.baseline_tokens;
    this.budget = tops.budget;
    this.hit = tops.budget_hit;
    this.isCounted = tops.thinking_tokens !== null;
  }

  elapsed() {
    return (performance.now() - this.begun) / 1000;
  }

  draw() {
    const now = this.seconds ?? this.elapsed();
    const first = this.firstText === null ? "" : `, answer began after ${seconds(this.firstText)}`;
    this.time.textContent = seconds(now) + (this.seconds === null ? "" : first);
    this.thoughts.hidden = !this.thought.firstChild;
    if (this.follows) this.thought.scrollTop = this.thought.scrollHeight;
    const most = Math.max(this.thinking, this.expected ?? 0, 1) * 1.02;
    this.bars.replaceChildren();
    this.bar("Thought", this.thinking, most, colour(this.effort), this.isCounted ? "" : "about ");
    if (this.budget !== null) this.bar("Allowed", this.budget, most, "limit");
    if (this.expected !== null) this.bar(`Expected at ${this.baseline}`, this.expected, most, "expected");
    this.verdict();
  }

  bar(name, tokens, most, kind, prefix = "") {
    add(this.bars, "dt", "", name);
    const track = add(add(this.bars, "dd"), "div", "track");
    const fill = make("div", kind === "limit" ? "limit" : `fill ${kind}`);
    const place = `${(100 * tokens) / most}%`;
    if (kind === "limit") fill.style.left = place;
    else fill.style.width = place;
    if (tokens <= most) track.append(fill); // a limit far away has no place on the scale
    add(this.bars, "dd", "number", prefix + whole.format(tokens));
  }

  verdict() {
    if (this.seconds === null) return;
    const line = this.line ??= add(this.meter, "p", "verdict");
    line.replaceChildren();
    if (!this.isCounted) line.append("The engine does not tell how many tokens were thought.");
    else if (this.expected === null) line.append("There is no estimate for the baseline, which this could be compared with.");
    else if (this.effort === this.baseline) line.append(`This was the baseline effort, ${this.baseline}, itself.`);
    else {
      const taken = `${count(this.thinking, "thinking token")} instead of ${whole.format(this.expected)}`;
      add(line, "strong", "", taken + difference(this.thinking, this.expected));
      line.append(`, by the estimate for ${this.baseline}.`);
    }
    if (this.hit) line.append(" The budget ended the thinking.");
  }

  // Ends the card of a whole answer; returns a sentence for those who listen.
  end() {
    this.seconds = this.elapsed();
    this.element.removeAttribute("aria-busy");
    if (this.text.className) this.text.textContent = "The model gave no answer.";
    if (this.finish === "length") this.problem("The answer was cut: its tokens, or the context, ran out.");
    this.draw();
    const said = this.text.textContent;
    return `Answered in ${seconds(this.seconds)}${said.length <= 200 ? `: ${said}` : ""}`;
  }

  problem(text) {
    this.seconds ??= this.elapsed();
    this.element.removeAttribute("aria-busy");
    const line = add(this.element, "p", "problem", text);
    line.setAttribute("role", "alert");
    this.after.before(line);
    if (this.text.className) this.text.parentElement.hidden = true;
    if (!this.isDecided()) this.reason.hidden = this.meter.hidden = true;
    this.draw();
  }

  isDecided() {
    return this.heading.childElementCount > 0;
  }

  get tokens() {
    return this.isCounted ? this.thinking : null;
  }
}

// Streams bring thousands of pieces: they become one text, which the next drawing shows.
function write(place, piece) {
  if (place.lastChild instanceof Text) place.lastChild.appendData(piece);
  else place.append(piece);
}

export function make(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

export function add(parent, name, kind, text) {
  const made = make(name, kind, text);
  parent.append(made);
  return made;
}
