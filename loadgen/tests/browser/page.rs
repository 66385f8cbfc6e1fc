//! The chat's page in a browser context of its own, and what a person does with it.

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::process::PATIENCE;

/// Looks at a condition again after each change of the page.
const UNTIL: &str = r#"
(condition, patience) => new Promise((resolve, reject) => {
  let observer;
  const done = (settle, value) => {
    observer.disconnect();
    document.removeEventListener("load", look, true);
    clearTimeout(bound);
    settle(value);
  };
  const look = () => { if (condition()) done(resolve, true); };
  const bound = setTimeout(
    () => done(reject, new Error(`never: ${condition}\n${document.body.innerText}`)), patience);
  observer = new MutationObserver(look);
  observer.observe(document, {
    subtree: true, childList: true, attributes: true, characterData: true,
  });
  document.addEventListener("load", look, true);
  look();
})"#;

/// A file with a picture: green above, red below.
const PICTURE: &str = r##"
async (width, height, type) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.fillStyle = "#0f0";
  context.fillRect(0, 0, width, height / 2);
  context.fillStyle = "#f00";
  context.fillRect(0, height / 2, width, height / 2);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type));
  const transfer = new DataTransfer();
  transfer.items.add(new File([blob], "picture", { type }));
  return transfer;
}"##;

/// One person's page.
pub(crate) struct Page {
    session: String,
}

impl Page {
    /// Opens the chat in a new browser context: no cookie, no storage of another.
    pub(crate) fn open(chromium: &mut Chromium, url: &str) -> Self {
        let context = chromium.call(None, "Target.createBrowserContext", json!({}));
        let target = chromium.call(
            None,
            "Target.createTarget",
            json!({ "url": "about:blank", "browserContextId": context["browserContextId"] }),
        );
        let attached = chromium.call(
            None,
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let page = Self { session };
        page.call(chromium, "Runtime.enable", json!({}));
        // Both are in front, as with two people.
        page.call(chromium, "Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        // Waits for the answer to the request; what the page does then is waited for below.
        let navigated = page.call(chromium, "Page.navigate", json!({ "url": url }));
        assert!(navigated.get("errorText").is_none(), "{navigated}");
        page.until(chromium, r#"document.body?.dataset.connection === "online""#);
        page
    }

    /// Loads the page again. It goes back to its room by itself.
    pub(crate) fn reload(&self, chromium: &mut Chromium) {
        self.evaluate(chromium, "window.isOld = true");
        self.call(chromium, "Page.enable", json!({}));
        let url = self.evaluate(chromium, "location.href.split('#')[0] + '?again'");
        self.call(chromium, "Page.navigate", json!({ "url": url }));
        self.until(chromium, "!window.isOld && document.body?.dataset.view === 'chat'");
    }

    /// Fills in the form and sends it.
    pub(crate) fn join(&self, chromium: &mut Chromium, name: &str, room: &str) {
        self.fill(chromium, "join-name", name);
        self.fill(chromium, "join-room", room);
        self.press_enter(chromium);
        let title = format!("# {room}");
        let title = Value::from(title);
        self.until(
            chromium,
            &format!(
                r#"document.body.dataset.view === "chat"
                  && document.getElementById("room-name").textContent === {title}"#
            ),
        );
    }

    /// Writes into the box, as an input method does.
    pub(crate) fn write(&self, chromium: &mut Chromium, text: &str) {
        self.fill(chromium, "text", text);
    }

    /// Presses Enter where the focus is.
    pub(crate) fn press_enter(&self, chromium: &mut Chromium) {
        let key = |kind: &str| {
            json!({
                "type": kind, "key": "Enter", "code": "Enter", "text": "\r",
                "windowsVirtualKeyCode": 13,
            })
        };
        self.call(chromium, "Input.dispatchKeyEvent", key("keyDown"));
        self.call(chromium, "Input.dispatchKeyEvent", key("keyUp"));
    }

    /// Pastes a PNG.
    pub(crate) fn paste_picture(&self, chromium: &mut Chromium, width: u32, height: u32) {
        let paste = format!(
            r#"({PICTURE})({width}, {height}, "image/png").then((clipboardData) => {{
              const event = new ClipboardEvent("paste", {{ clipboardData, bubbles: true }});
              document.getElementById("text").dispatchEvent(event);
            }})"#
        );
        self.evaluate(chromium, &paste);
    }

    /// Drops a JPEG onto the page.
    pub(crate) fn drop_picture(&self, chromium: &mut Chromium, width: u32, height: u32) {
        let drop = format!(
            r#"({PICTURE})({width}, {height}, "image/jpeg").then((dataTransfer) => {{
              const event = new DragEvent("drop", {{ dataTransfer, bubbles: true }});
              document.getElementById("messages").dispatchEvent(event);
            }})"#
        );
        self.evaluate(chromium, &drop);
    }

    /// Waits until a condition holds; fails with what the page shows if it never does.
    pub(crate) fn until(&self, chromium: &mut Chromium, condition: &str) {
        let patience = PATIENCE.as_millis();
        self.evaluate(chromium, &format!("({UNTIL})(() => ({condition}), {patience})"));
    }

    /// Begins to wait for a state that may be short.
    pub(crate) fn begin_to_watch(&self, chromium: &mut Chromium, condition: &str) {
        let patience = PATIENCE.as_millis();
        let watch = format!("void (window.watched = ({UNTIL})(() => ({condition}), {patience}))");
        self.evaluate(chromium, &watch);
    }

    /// Waits until that state has been.
    pub(crate) fn finish_to_watch(&self, chromium: &mut Chromium) {
        self.evaluate(chromium, "window.watched");
    }

    /// How many messages are this text.
    pub(crate) fn count_text(&self, chromium: &mut Chromium, text: &str) -> Value {
        let count = format!(
            r#"[...document.querySelectorAll(".text")]
              .filter((one) => one.textContent === {}).length"#,
            Value::from(text)
        );
        self.evaluate(chromium, &count)
    }

    /// Waits until exactly these people, given in the order of their names, are in the list of
    /// those who are here.
    pub(crate) fn until_here(&self, chromium: &mut Chromium, names: &[&str]) {
        let condition = format!(
            r#"[...document.querySelectorAll('#people .label')]
              .map((label) => label.firstChild.data).sort().join("\n") === {}"#,
            Value::from(names.join("\n"))
        );
        self.until(chromium, &condition);
    }

    /// Waits until the last message is this text, to the letter.
    pub(crate) fn until_last_text(&self, chromium: &mut Chromium, text: &str) {
        let text = Value::from(text);
        let condition =
            format!(r#"[...document.querySelectorAll(".text")].at(-1)?.textContent === {text}"#);
        self.until(chromium, &condition);
    }

    /// Waits until a message is this text.
    pub(crate) fn until_text(&self, chromium: &mut Chromium, text: &str) {
        let condition = format!(
            r#"[...document.querySelectorAll(".text")].some((one) => one.textContent === {})"#,
            Value::from(text)
        );
        self.until(chromium, &condition);
    }

    /// Waits until the last picture has been decoded, and looks at two of its points.
    pub(crate) fn until_picture(&self, chromium: &mut Chromium, width: u32, height: u32) {
        let last = r#"[...document.querySelectorAll(".bubble.picture img")].at(-1)"#;
        let condition =
            format!("{last}?.naturalWidth === {width} && {last}.naturalHeight === {height}");
        self.until(chromium, &condition);
        let points = format!(
            r#"{last}.decode().then(() => {{
              const canvas = new OffscreenCanvas({width}, {height});
              const context = canvas.getContext("2d");
              context.drawImage({last}, 0, 0);
              const colour = (y) => {{
                const [red, green, blue] = context.getImageData({width} / 2, y, 1, 1).data;
                return red > 200 && green < 60 && blue < 60 ? "red"
                  : red < 60 && green > 200 && blue < 60 ? "green" : "neither";
              }};
              return [colour(2), colour({height} - 3)];
            }})"#
        );
        assert_eq!(self.evaluate(chromium, &points), json!(["green", "red"]));
    }

    /// The value of an expression, or what its promise brings.
    pub(crate) fn evaluate(&self, chromium: &mut Chromium, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call(chromium, "Runtime.evaluate", params);
        let details = &answer["exceptionDetails"];
        assert!(details.is_null(), "{}", details["exception"]["description"]);
        answer["result"]["value"].take()
    }

    fn fill(&self, chromium: &mut Chromium, id: &str, text: &str) {
        let id = Value::from(id);
        self.evaluate(chromium, &format!("document.getElementById({id}).focus()"));
        self.evaluate(chromium, &format!("document.getElementById({id}).select()"));
        self.call(chromium, "Input.insertText", json!({ "text": text }));
    }

    fn call(&self, chromium: &mut Chromium, method: &str, params: Value) -> Value {
        chromium.call(Some(&self.session), method, params)
    }
}
