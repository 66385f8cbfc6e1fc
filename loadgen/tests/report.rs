//! The page of a load report as a browser shows it: wide and narrow, light and dark.
//!
//! Chromium is looked for as in the test of the chat. With `SOCKEYE_PICTURES` set to a folder, a
//! picture of each page is written there, to be looked at.

#[path = "browser/chromium.rs"]
mod chromium;
/// The page is a function of a report: the same sources, without all that makes reports.
#[allow(dead_code, reason = "the page needs only a part of it")]
#[path = "../src/load"]
mod load {
    mod buckets;
    mod distribution;
    pub(crate) mod output {
        mod facts;
        pub(crate) mod html;
        pub(crate) mod samples;
        mod table;
    }
    pub(crate) mod report;
    mod tally;
    mod units;
}
#[allow(dead_code, reason = "the browser needs only a part of it")]
#[path = "browser/process.rs"]
mod process;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chromium::Chromium;
use load::output::{html, samples};
use serde_json::{Value, json};

const WIDTHS: [u32; 3] = [1280, 390, 360];
const SCHEMES: [&str; 2] = ["light", "dark"];

#[test]
fn every_page_is_readable_everywhere() {
    let Some(mut chromium) = Chromium::start() else { return };
    let page = Page::open(&mut chromium);
    for (name, report) in samples::all() {
        let file = File::new(name, &html::render(&report));
        for width in WIDTHS {
            for scheme in SCHEMES {
                let what = format!("{name}-{width}-{scheme}");
                page.show(&mut chromium, &file, width, scheme);
                page.picture(&mut chromium, &what);
                let found = page.evaluate(&mut chromium, CHECK);
                assert_eq!(found["problems"], json!([]), "{what}: {found:#}");
                assert_eq!(found["background"] == "dark", scheme == "dark", "{what}: {found}");
                // The checks have had something to look at.
                assert!(found["texts"].as_u64() > Some(50), "{what}: {found}");
                let charts = report.series.is_empty() || found["labels"].as_u64() > Some(10);
                assert!(charts, "{what}: {found}");
                assert_eq!(found["injected"], Value::Null, "{what}");
            }
        }
    }
    chromium.assert_no_exceptions();
}

#[test]
fn the_pointer_shows_values() {
    let Some(mut chromium) = Chromium::start() else { return };
    let page = Page::open(&mut chromium);
    let file = File::new("pointer", &html::render(&samples::rich()));
    page.show(&mut chromium, &file, 1280, "light");
    let shown = page.evaluate(&mut chromium, HOVER);
    let [middle, outside] = [&shown["middle"], &shown["outside"]].map(|text| text.as_str());
    let middle = middle.expect("a text");
    assert!(middle.contains(" s · Target/s 50,000 · Sent/s "), "{middle}");
    assert_eq!(outside, Some(""));
    chromium.assert_no_exceptions();
}

/// What is wrong with the page: what sticks out, what lies over another, what is too faint.
const CHECK: &str = r##"(() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const problems = [];
  const name = (element) =>
    `${element.tagName}.${element.getAttribute("class")} "${element.textContent.slice(0, 40)}"`;
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) {
    problems.push(`the page is ${document.documentElement.scrollWidth} wide, not ${width}`);
  }
  for (const element of document.body.querySelectorAll("*")) {
    const inside = element.parentElement.closest(".scroll");
    const box = element.getBoundingClientRect();
    if (!inside && (box.right > width + 0.5 || box.left < -0.5)) {
      problems.push(`sticks out of the page: ${name(element)}`);
    }
    const clipped = element.scrollWidth > element.clientWidth + 1;
    if (!inside && !element.matches(".scroll") && element instanceof HTMLElement && clipped
        && getComputedStyle(element).display !== "inline") {
      problems.push(`is cut off: ${name(element)}`);
    }
  }

  let labels = 0;
  for (const chart of document.querySelectorAll("svg.chart")) {
    const figure = chart.closest("figure").getBoundingClientRect();
    const frame = chart.closest(".frame").getBoundingClientRect();
    const texts = [...chart.querySelectorAll("text")].filter((text) => text.textContent !== "");
    const boxes = texts.map((text) => text.getBoundingClientRect());
    labels += texts.length;
    boxes.forEach((box, n) => {
      if (box.left < figure.left + 1 || box.right > figure.right - 1
          || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) {
        problems.push(`sticks out of its plot: ${name(texts[n])}`);
      }
      for (let m = 0; m < n; m += 1) {
        const other = boxes[m];
        const over = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (over > 0.5 && down > 1.5) {
          problems.push(`one over another: ${name(texts[n])}, ${name(texts[m])}`);
        }
      }
    });
  }

  // WCAG 2.2, 1.4.3.
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).map((channel) => {
      const share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const [, , , alpha = 1] = channels(colour);
      if (alpha === 1) return colour;
      if (alpha !== 0) problems.push(`half a background: ${name(at)}`);
    }
    return "rgb(255, 255, 255)";
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  let texts = 0;
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.matches("script, style, svg title, svg desc")) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const grounds = [ground(element)];
    // Names of marks may lie over what is shaded.
    const shade = element.closest(".chart")?.querySelector(".shade");
    if (shade && element.matches(".mark")) grounds.push(getComputedStyle(shade).fill);
    for (const behind of grounds) {
      const ratio = contrast(colour, behind);
      if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${name(element)}`);
    }
  }
  const background = luminance(ground(document.body)) < 0.2 ? "dark" : "light";
  return { problems, labels, texts, background, injected: window.injected ?? null };
})()"##;

const HOVER: &str = r##"(() => {
  const figure = document.querySelector("figure.plot");
  const area = figure.querySelector(".ground").getBoundingClientRect();
  const frame = figure.querySelector(".frame");
  const readout = figure.querySelector(".readout");
  const at = (clientX) => {
    const event = new PointerEvent("pointermove", { clientX, clientY: area.top + 50 });
    frame.dispatchEvent(event);
    return readout.textContent;
  };
  const middle = at(area.left + area.width / 2);
  return { middle, outside: at(area.left - 20) };
})()"##;

/// A page in a file, that goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, page: &str) -> Self {
        let name = format!("report-{}-{name}.html", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, page).expect("the build's directory can be written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // What cannot be removed goes with the build's directory.
        let _ = fs::remove_file(&self.0);
    }
}

/// A tab.
struct Page {
    session: String,
}

impl Page {
    fn open(chromium: &mut Chromium) -> Self {
        let target = json!({ "url": "about:blank" });
        let target = chromium.call(None, "Target.createTarget", target);
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = chromium.call(None, "Target.attachToTarget", attach);
        let page = Self { session: attached["sessionId"].as_str().expect("a session").to_owned() };
        page.call(chromium, "Runtime.enable", json!({}));
        page
    }

    /// Loads it for a screen of that width and people who like it light or dark.
    fn show(&self, chromium: &mut Chromium, file: &File, width: u32, scheme: &str) {
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call(chromium, "Emulation.setDeviceMetricsOverride", screen);
        // Those of a desktop would take part of the width.
        self.call(chromium, "Emulation.setScrollbarsHidden", json!({ "hidden": true }));
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call(chromium, "Emulation.setEmulatedMedia", media);
        // A place of its own, so that the page before cannot be taken for this one.
        let place = format!("#{width}-{scheme}");
        self.evaluate(chromium, "window.isOld = true");
        let url = format!("file://{}?{width}-{scheme}{place}", file.0.display());
        let navigated = self.call(chromium, "Page.navigate", json!({ "url": url }));
        assert!(navigated.get("errorText").is_none(), "{navigated}");
        self.evaluate(chromium, LOADED);
    }

    /// Writes a picture of all of it, if pictures are wanted.
    fn picture(&self, chromium: &mut Chromium, name: &str) {
        let Some(folder) = env::var_os("SOCKEYE_PICTURES") else { return };
        let whole = json!({ "captureBeyondViewport": true, "format": "png" });
        let taken = self.call(chromium, "Page.captureScreenshot", whole);
        let bytes = STANDARD.decode(taken["data"].as_str().expect("a picture"));
        let path = Path::new(&folder).join(format!("{name}.png"));
        fs::write(path, bytes.expect("base64")).expect("the picture can be written");
    }

    fn evaluate(&self, chromium: &mut Chromium, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call(chromium, "Runtime.evaluate", params);
        let details = &answer["exceptionDetails"];
        assert!(details.is_null(), "{}", details["exception"]["description"]);
        answer["result"]["value"].take()
    }

    fn call(&self, chromium: &mut Chromium, method: &str, params: Value) -> Value {
        chromium.call(Some(&self.session), method, params)
    }
}

/// Waits until the page is there. The browser itself fails if it never is.
const LOADED: &str = r#"new Promise((resolve) => {
  if (document.readyState === "complete") resolve();
  else window.addEventListener("load", () => resolve());
})"#;
