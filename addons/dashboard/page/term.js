// A terminal: turns the output of a program (ECMA-48, with xterm's extensions) into rows of text.
// It supports the sequences of shells, editors, pagers and top, and skips others.

const COLOURS = 16;

const blank = () => ({ text: " ", style: "" });

export class Screen {
  /** `answer` is called with the terminal's replies to the program. */
  constructor(columns, rows, answer) {
    this.answer = answer;
    this.columns = columns;
    this.rows = rows;
    /** Rows that have scrolled off the top, with a number for the first that is still kept. */
    this.history = [];
    this.reset();
  }

  reset() {
    this.lines = Array.from({ length: this.rows }, () => this.line());
    this.x = this.y = 0;
    this.pen = { fg: "", bg: "", bold: false, dim: false, under: false, turned: false };
    this.top = 0;
    this.bottom = this.rows - 1;
    this.saved = null;
    this.other = null;
    this.cursor = true;
    this.wide = false;
    this.application = false;
    this.state = "text";
    this.parameters = "";
  }

  line() {
    return Array.from({ length: this.columns }, blank);
  }

  resize(columns, rows) {
    this.columns = columns;
    const fit = (lines) => {
      for (const line of lines) {
        while (line.length < columns) line.push(blank());
        line.length = columns;
      }
    };
    fit(this.lines);
    while (this.lines.length > rows) {
      if (this.y < this.lines.length - 1 && this.lines.at(-1).every((cell) => cell.text === " ")) this.lines.pop();
      else {
        this.keep(this.lines.shift());
        this.y = Math.max(0, this.y - 1);
      }
    }
    while (this.lines.length < rows) this.lines.push(this.line());
    this.rows = rows;
    this.top = 0;
    this.bottom = rows - 1;
    this.x = Math.min(this.x, columns - 1);
    this.y = Math.min(this.y, rows - 1);
  }

  keep(line) {
    if (this.other) return;
    this.history.push(line);
    if (this.history.length > 2000) this.history.splice(0, 500);
  }

  write(text) {
    for (const one of text) this.put(one);
  }

  put(one) {
    const code = one.codePointAt(0);
    switch (this.state) {
      case "escape":
        return this.escape(one);
      case "sequence":
        if (code >= 0x40 && code <= 0x7e) {
          this.state = "text";
          this.sequence(one, this.parameters);
        } else if (code < 0x20) this.control(code);
        else this.parameters += one;
        return;
      case "string":
        // Titles and the like, which are not shown.
        if (code === 7) this.state = "text";
        else if (code === 27) this.state = "stringEnd";
        return;
      case "stringEnd":
        this.state = "text";
        return;
      case "charset":
        this.state = "text";
        return;
      default:
        if (code === 27) this.state = "escape";
        else if (code < 0x20 || code === 0x7f) this.control(code);
        else this.print(one);
    }
  }

  print(one) {
    if (this.wide) {
      this.x = 0;
      this.feed();
    }
    this.wide = false;
    this.lines[this.y][this.x] = { text: one, style: this.style() };
    if (this.x < this.columns - 1) this.x += 1;
    else this.wide = true;
  }

  style() {
    const { fg, bg, bold, dim, under, turned } = this.pen;
    const names = [];
    if (turned) names.push("turned");
    if (fg) names.push(`f${fg}`);
    if (bg) names.push(`b${bg}`);
    if (bold) names.push("bold");
    if (dim) names.push("dim");
    if (under) names.push("under");
    return names.join(" ");
  }

  control(code) {
    if (code === 8) this.x = Math.max(0, this.x - 1);
    else if (code === 9) this.x = Math.min(this.columns - 1, (Math.floor(this.x / 8) + 1) * 8);
    else if (code >= 10 && code <= 12) this.feed();
    else if (code === 13) this.x = 0;
    if (code !== 7) this.wide = false;
  }

  /** Moves down a row; at the end of the region, scrolls. */
  feed() {
    if (this.y === this.bottom) this.up(this.top, 1);
    else if (this.y < this.rows - 1) this.y += 1;
  }

  up(from, number) {
    for (let i = 0; i < number; i += 1) {
      const [gone] = this.lines.splice(from, 1);
      if (from === 0 && this.top === 0) this.keep(gone);
      this.lines.splice(this.bottom, 0, this.line());
    }
  }

  down(from, number) {
    for (let i = 0; i < number; i += 1) {
      this.lines.splice(this.bottom, 1);
      this.lines.splice(from, 0, this.line());
    }
  }

  escape(one) {
    this.state = "text";
    if (one === "[") {
      this.state = "sequence";
      this.parameters = "";
    } else if ("]P^_X".includes(one)) this.state = "string";
    else if ("()*+#% ".includes(one)) this.state = "charset";
    else if (one === "7") this.save();
    else if (one === "8") this.restore();
    else if (one === "D") this.feed();
    else if (one === "E") {
      this.x = 0;
      this.feed();
    } else if (one === "M") {
      if (this.y === this.top) this.down(this.top, 1);
      else this.y = Math.max(0, this.y - 1);
    } else if (one === "c") this.reset();
  }

  save() {
    this.saved = { x: this.x, y: this.y, pen: { ...this.pen } };
  }

  restore() {
    if (!this.saved) return;
    this.x = Math.min(this.saved.x, this.columns - 1);
    this.y = Math.min(this.saved.y, this.rows - 1);
    this.pen = { ...this.saved.pen };
  }

  sequence(final, text) {
    const own = text.startsWith("?");
    const numbers = text
      .replace(/^[?>!]/, "")
      .split(/[;:]/)
      .map((word) => (word === "" ? NaN : Number(word)));
    const first = (usual = 1) => (Number.isNaN(numbers[0]) ? usual : Math.max(usual === 0 ? 0 : 1, numbers[0]));
    const within = (value, limit) => Math.max(0, Math.min(limit - 1, value));
    if (final !== "m") this.wide = false;
    switch (final) {
      case "A":
        this.y = Math.max(this.y >= this.top ? this.top : 0, this.y - first());
        break;
      case "B":
      case "e":
        this.y = Math.min(this.y <= this.bottom ? this.bottom : this.rows - 1, this.y + first());
        break;
      case "C":
      case "a":
        this.x = within(this.x + first(), this.columns);
        break;
      case "D":
        this.x = within(this.x - first(), this.columns);
        break;
      case "E":
        this.x = 0;
        this.y = within(this.y + first(), this.rows);
        break;
      case "F":
        this.x = 0;
        this.y = within(this.y - first(), this.rows);
        break;
      case "G":
      case "`":
        this.x = within(first() - 1, this.columns);
        break;
      case "d":
        this.y = within(first() - 1, this.rows);
        break;
      case "H":
      case "f":
        this.y = within(first() - 1, this.rows);
        this.x = within((numbers[1] || 1) - 1, this.columns);
        break;
      case "J":
        this.eraseScreen(first(0));
        break;
      case "K":
        this.erase(this.y, first(0) === 0 ? this.x : 0, first(0) === 1 ? this.x : this.columns - 1);
        break;
      case "X":
        this.erase(this.y, this.x, this.x + first() - 1);
        break;
      case "@":
        this.shift(first());
        break;
      case "P":
        this.shift(-first());
        break;
      case "L":
        if (this.y >= this.top && this.y <= this.bottom) this.down(this.y, Math.min(first(), this.bottom - this.y + 1));
        break;
      case "M":
        if (this.y >= this.top && this.y <= this.bottom) this.up(this.y, Math.min(first(), this.bottom - this.y + 1));
        break;
      case "S":
        this.up(this.top, Math.min(first(), this.rows));
        break;
      case "T":
        this.down(this.top, Math.min(first(), this.rows));
        break;
      case "m":
        this.paint(numbers);
        break;
      case "r":
        this.top = within(first() - 1, this.rows);
        this.bottom = within((numbers[1] || this.rows) - 1, this.rows);
        if (this.bottom <= this.top) [this.top, this.bottom] = [0, this.rows - 1];
        this.x = this.y = 0;
        break;
      case "s":
        this.save();
        break;
      case "u":
        this.restore();
        break;
      case "n":
        if (first(0) === 6) this.answer(`\x1b[${this.y + 1};${this.x + 1}R`);
        else if (first(0) === 5) this.answer("\x1b[0n");
        break;
      case "c":
        if (!text.startsWith(">")) this.answer("\x1b[?1;2c");
        break;
      case "h":
      case "l":
        if (own) for (const mode of numbers) this.mode(mode, final === "h");
        break;
      default:
        break;
    }
  }

  mode(mode, on) {
    if (mode === 25) this.cursor = on;
    else if (mode === 1) this.application = on;
    else if ([47, 1047, 1049].includes(mode)) {
      if (on && !this.other) {
        this.save();
        this.other = this.lines;
        this.lines = Array.from({ length: this.rows }, () => this.line());
      } else if (!on && this.other) {
        this.lines = this.other;
        this.other = null;
        this.resize(this.columns, this.rows);
        this.restore();
      }
    }
  }

  erase(y, from, to) {
    const style = this.pen.bg ? `b${this.pen.bg}` : "";
    for (let x = from; x <= Math.min(to, this.columns - 1); x += 1) this.lines[y][x] = { text: " ", style };
  }

  eraseScreen(how) {
    if (how === 3) this.history = [];
    const [from, to] = how === 0 ? [this.y + 1, this.rows] : how === 1 ? [0, this.y] : [0, this.rows];
    for (let y = from; y < to; y += 1) this.erase(y, 0, this.columns - 1);
    if (how === 0) this.erase(this.y, this.x, this.columns - 1);
    if (how === 1) this.erase(this.y, 0, this.x);
  }

  /** Inserts or removes characters at the cursor. */
  shift(number) {
    const line = this.lines[this.y];
    if (number > 0) line.splice(this.x, 0, ...Array.from({ length: Math.min(number, this.columns) }, blank));
    else line.splice(this.x, -number);
    while (line.length < this.columns) line.push(blank());
    line.length = this.columns;
  }

  /** Sets colours and weights ("select graphic rendition"). */
  paint(numbers) {
    const pen = this.pen;
    for (let at = 0; at < numbers.length; at += 1) {
      const number = numbers[at] || 0;
      if (number === 0) Object.assign(pen, { fg: "", bg: "", bold: false, dim: false, under: false, turned: false });
      else if (number === 1) pen.bold = true;
      else if (number === 2) pen.dim = true;
      else if (number === 4) pen.under = true;
      else if (number === 7) pen.turned = true;
      else if (number === 22) pen.bold = pen.dim = false;
      else if (number === 24) pen.under = false;
      else if (number === 27) pen.turned = false;
      else if (number >= 30 && number <= 37) pen.fg = String(number - 30);
      else if (number >= 40 && number <= 47) pen.bg = String(number - 40);
      else if (number >= 90 && number <= 97) pen.fg = String(number - 82);
      else if (number >= 100 && number <= 107) pen.bg = String(number - 92);
      else if (number === 39) pen.fg = "";
      else if (number === 49) pen.bg = "";
      else if (number === 38 || number === 48) {
        const deep = numbers[at + 1] === 2;
        const colour = deep ? near(numbers.slice(at + 2, at + 5)) : indexed(numbers[at + 2]);
        pen[number === 38 ? "fg" : "bg"] = colour;
        at += deep ? 4 : 2;
      }
    }
  }
}

/** The nearest of the 16 colours. */
function near([red = 0, green = 0, blue = 0]) {
  const bright = Math.max(red, green, blue) > 170 ? 8 : 0;
  const on = (value) => value > Math.max(red, green, blue) * 0.6;
  return String((on(red) ? 1 : 0) + (on(green) ? 2 : 0) + (on(blue) ? 4 : 0) + bright);
}

function indexed(number) {
  if (number < COLOURS) return String(number);
  if (number >= 232) return number > 243 ? "7" : "8";
  const rest = number - COLOURS;
  return near([Math.floor(rest / 36) * 51, (Math.floor(rest / 6) % 6) * 51, (rest % 6) * 51]);
}

/** Returns the bytes that a key sends, or null if the key is the browser's. */
export function keyText(event, application) {
  const { key, ctrlKey, altKey, metaKey, shiftKey } = event;
  if (metaKey) return null;
  const arrow = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" }[key];
  if (arrow) return ctrlKey ? `\x1b[1;5${arrow}` : `\x1b${application ? "O" : "["}${arrow}`;
  const fixed = {
    Enter: "\r",
    Backspace: "\x7f",
    Tab: shiftKey ? "\x1b[Z" : "\t",
    Escape: "\x1b",
    Delete: "\x1b[3~",
    Insert: "\x1b[2~",
    PageUp: "\x1b[5~",
    PageDown: "\x1b[6~",
    F1: "\x1bOP",
    F2: "\x1bOQ",
    F3: "\x1bOR",
    F4: "\x1bOS",
  }[key];
  if (fixed) return fixed;
  if (ctrlKey && shiftKey) return null;
  if (ctrlKey && !altKey && key.length === 1) {
    const code = key.toUpperCase().charCodeAt(0);
    if (code >= 64 && code <= 95) return String.fromCharCode(code - 64);
    if (key === " ") return "\0";
    return null;
  }
  if (altKey && !ctrlKey && key.length === 1) return `\x1b${key}`;
  return null;
}
