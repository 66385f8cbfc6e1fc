//! The page and what it is made of, and whose pages may use the socket.

use sockeye::Upgrade;

use super::ChatSession;

struct Asset {
    path: &'static str,
    media: &'static str,
    body: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 10] = [
    Asset { path: "/", media: "text/html; charset=utf-8", body: include_str!("index.html") },
    Asset { path: "/chat.css", media: "text/css; charset=utf-8", body: include_str!("chat.css") },
    Asset { path: "/icon.svg", media: "image/svg+xml", body: include_str!("icon.svg") },
    Asset { path: "/attachments.js", media: SCRIPT, body: include_str!("attachments.js") },
    Asset { path: "/lists.js", media: SCRIPT, body: include_str!("lists.js") },
    Asset { path: "/chat.js", media: SCRIPT, body: include_str!("chat.js") },
    Asset { path: "/emoji.js", media: SCRIPT, body: include_str!("emoji.js") },
    Asset { path: "/link.js", media: SCRIPT, body: include_str!("link.js") },
    Asset { path: "/pictures.js", media: SCRIPT, body: include_str!("pictures.js") },
    Asset { path: "/timeline.js", media: SCRIPT, body: include_str!("timeline.js") },
];

/// The answer to what is not for the socket.
pub(crate) fn answer(method: &str, path: &str, host: Option<&str>) -> Upgrade<ChatSession> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return text(404, "There is nothing here. The chat is at /\n");
    };
    if !matches!(method, "GET" | "HEAD") {
        return text(405, "Only GET and HEAD.\n").header("Allow", "GET, HEAD");
    }
    Upgrade::reject(200)
        .header("Content-Type", asset.media)
        .header("Content-Security-Policy", content_security_policy(host))
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Cache-Control", "no-cache")
        .body(asset.body)
}

/// A short answer for people.
pub(crate) fn text(status: u16, body: &str) -> Upgrade<ChatSession> {
    Upgrade::reject(status)
        .header("Content-Type", "text/plain; charset=utf-8")
        .header("X-Content-Type-Options", "nosniff")
        .body(body)
}

/// Everything from here, nothing inline, nothing framed. Not every browser takes `'self'` to mean
/// the WebSocket of the same host, so that is named too.
pub(crate) fn content_security_policy(host: Option<&str>) -> String {
    let is_plain = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
    };
    let sockets =
        host.filter(is_plain).map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Whether a page of that origin may connect: one that this host has served, or a client that is
/// no browser and names none.
pub(crate) fn is_same_origin(origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    let authority = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}
