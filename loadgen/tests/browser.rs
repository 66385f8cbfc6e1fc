//! The chat as people use it: two of them, each in a browser of their own, and the server stopped
//! and started under them. And what no browser does: requests and messages that are not the page's.
//!
//! Chromium is looked for as `$CHROMIUM`, `chromium`, `chromium-browser` and `google-chrome`.
//! Without it the test of the page says so and passes, unless `SOCKEYE_REQUIRE_BROWSER=1` is set.

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/page.rs"]
mod page;
#[path = "browser/process.rs"]
mod process;
#[path = "browser/protocol.rs"]
mod protocol;
#[path = "browser/proxy.rs"]
mod proxy;
#[path = "browser/server.rs"]
mod server;

use chromium::Chromium;
use page::Page;
use proxy::Proxy;
use server::Server;

const ROOM: &str = "Lachs & Freunde";
const GREETING: &str = "Good morning 🐟 “déjà vu” 你好 👩‍👩‍👧";
const INJECTION: &str =
    r#"<img src=x onerror="window.injected=1"><script>window.injected=1</script>"#;

#[test]
fn two_people_chat() {
    let Some(mut chromium) = Chromium::start() else { return };
    let mut server = Server::start("127.0.0.1:0");
    let ada = Page::open(&mut chromium, &server.url());
    // Bo has a bad line.
    let proxy = Proxy::start(&server.address());
    let bo = Page::open(&mut chromium, &proxy.url());

    ada.join(&mut chromium, "Ada", ROOM);
    bo.join(&mut chromium, "Bo", ROOM);
    for page in [&ada, &bo] {
        page.until_here(&mut chromium, &["Ada", "Bo"]);
    }

    text_passes(&mut chromium, &ada, &bo);
    pictures_pass(&mut chromium, &ada, &bo);
    the_line_is_cut(&mut chromium, &proxy, &ada, &bo);
    the_server_comes_back(&mut chromium, &mut server, &ada, &bo);

    // What a page that is loaded again gets from the server's memory.
    bo.reload(&mut chromium);
    bo.until_last_text(&mut chromium, "Back again");
    for page in [&ada, &bo] {
        assert_eq!(
            page.evaluate(&mut chromium, "window.injected ?? null"),
            serde_json::Value::Null
        );
    }
    chromium.assert_no_exceptions();
}

/// The same page over `https:`, so that its WebSocket is `wss:`.
#[test]
fn two_people_chat_over_tls() {
    let Some(mut chromium) = Chromium::start() else { return };
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = |name| {
        let name = format!("chat-{}-{name}.pem", std::process::id());
        folder.join(name).to_str().expect("UTF-8").to_owned()
    };
    let [certificate, key] = ["cert", "key"].map(path);
    std::fs::write(&certificate, made.cert.pem()).expect("it can be written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it can be written");
    let server = Server::start_tls("127.0.0.1:0", &certificate, &key);
    // It has read them.
    for path in [&certificate, &key] {
        std::fs::remove_file(path).expect("it is there");
    }
    let [ada, bo] = [(); 2].map(|()| Page::open(&mut chromium, &server.url()));
    ada.join(&mut chromium, "Ada", ROOM);
    bo.join(&mut chromium, "Bo", ROOM);
    for page in [&ada, &bo] {
        page.until_here(&mut chromium, &["Ada", "Bo"]);
        assert_eq!(page.evaluate(&mut chromium, "location.protocol"), "https:");
    }
    text_passes(&mut chromium, &ada, &bo);
    pictures_pass(&mut chromium, &ada, &bo);
    chromium.assert_no_exceptions();
}

fn text_passes(chromium: &mut Chromium, ada: &Page, bo: &Page) {
    ada.write(chromium, GREETING);
    bo.until(chromium, r#"document.getElementById("typing").textContent === "Ada is typing…""#);
    ada.press_enter(chromium);
    bo.until_last_text(chromium, GREETING);
    bo.until(chromium, r#"document.getElementById("typing").textContent === """#);
    // It is Ada's own to her, and not to Bo.
    let own = r#"[...document.querySelectorAll(".message")].at(-1).dataset.own === """#;
    ada.until(chromium, &format!(r#"!document.querySelector(".pending") && {own}"#));
    bo.until(chromium, &format!("!({own})"));

    bo.write(chromium, INJECTION);
    bo.press_enter(chromium);
    ada.until_last_text(chromium, INJECTION);
    ada.until(chromium, r#"!document.querySelector(".text *, #messages script")"#);
}

fn pictures_pass(chromium: &mut Chromium, ada: &Page, bo: &Page) {
    ada.paste_picture(chromium, 64, 48);
    ada.until(chromium, r#"document.querySelector('#attachments img')?.naturalWidth === 64"#);
    ada.press_enter(chromium);
    bo.until_picture(chromium, 64, 48);

    // Larger than what is sent: the page makes it smaller.
    bo.drop_picture(chromium, 2560, 1280);
    bo.until(chromium, r#"document.querySelector('#attachments img')?.naturalWidth === 1280"#);
    bo.press_enter(chromium);
    ada.until_picture(chromium, 1280, 640);
}

/// The server still has all that Bo has seen, and sends it again.
fn the_line_is_cut(chromium: &mut Chromium, proxy: &Proxy, ada: &Page, bo: &Page) {
    bo.begin_to_watch(chromium, "document.body.dataset.joined === undefined");
    proxy.cut();
    bo.finish_to_watch(chromium);
    bo.until(chromium, r#"document.body.dataset.joined === """#);
    // He has taken his own place and name again.
    for page in [ada, bo] {
        page.until_here(chromium, &["Ada", "Bo"]);
    }
    ada.write(chromium, "Are you there?");
    ada.press_enter(chromium);
    bo.until_last_text(chromium, "Are you there?");
    assert_eq!(bo.count_text(chromium, GREETING), 1);
}

fn the_server_comes_back(chromium: &mut Chromium, server: &mut Server, ada: &Page, bo: &Page) {
    let address = server.address();
    server.stop();
    for page in [ada, bo] {
        page.until(chromium, r#"document.body.dataset.connection === "reconnecting""#);
        page.until(chromium, r#"!document.getElementById("banner").hidden"#);
    }
    ada.write(chromium, "Written while nobody could hear it");
    ada.press_enter(chromium);
    ada.until(chromium, r#"document.querySelector(".pending .fate") !== null"#);

    *server = Server::start(&address);
    for page in [ada, bo] {
        page.until(chromium, r#"document.body.dataset.joined === """#);
        page.until(chromium, r#"document.getElementById("banner").hidden"#);
        page.until_here(chromium, &["Ada", "Bo"]);
    }
    bo.until_text(chromium, "Written while nobody could hear it");
    bo.write(chromium, "Back again");
    bo.press_enter(chromium);
    ada.until_last_text(chromium, "Back again");
    assert_eq!(bo.count_text(chromium, GREETING), 1);
}
