//! The options that say what messages are made of, and the files that they name.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::super::units::parse_bytes;
use super::{LineOrder, Lines, Names, Payload, Recorded, Size, Template, parse_mix};

/// A file of messages is at most so long; all of it is held in memory.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What messages are made of.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct PayloadOptions {
    #[command(flatten)]
    content: ContentOptions,
    /// Send text
    ///
    /// Without it --bytes and --size are binary, and all else is text.
    #[arg(long, conflicts_with = "mix")]
    text: bool,
    /// Send parts as text and parts as binary, such as 80:20
    #[arg(long, value_name = "TEXT:BINARY", value_parser = parse_mix)]
    mix: Option<f64>,
    /// Which line of --lines is next
    #[arg(long, value_name = "ORDER", value_enum, default_value_t, requires = "lines")]
    lines_order: Order,
    /// Send messages in frames of at most so many bytes of payload
    #[arg(long, value_name = "BYTES", value_parser = parse_fragment)]
    fragment: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
struct ContentOptions {
    /// Messages of so many bytes, such as 32, 10kB or 64KiB [default: 32]
    #[arg(long, value_name = "BYTES", value_parser = parse_fixed)]
    bytes: Option<Size>,
    /// Messages of differing sizes, such as uniform:10..200
    ///
    /// Or lognormal:200,1.5, which are median and sigma.
    #[arg(long, value_name = "DISTRIBUTION")]
    size: Option<Size>,
    /// A template, such as '{"id":"{{uuid}}"}'
    ///
    /// What is filled in: {{seq}}, {{conn}}, {{uuid}}, {{rand 1 6}}, {{fill 200}}, {{now_ms}},
    /// {{now_ns}}.
    #[arg(long, value_name = "TEMPLATE")]
    message: Option<String>,
    /// A file that has the template
    #[arg(long, value_name = "FILE")]
    message_file: Option<PathBuf>,
    /// A file that has a message on each line
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// A recording of messages, one on each line
    ///
    /// A line is the message itself, or {"type":"send","opcode":1,"data":".."} as browsers write
    /// it.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Order {
    /// One after the other
    #[default]
    Turn,
    /// Any
    Random,
}

impl PayloadOptions {
    /// Reads the files and makes the payload.
    pub(crate) fn payload(&self) -> Result<Payload, String> {
        let content = &self.content;
        let payload = if let Some(text) = &content.message {
            Payload::template(template("--message", text)?)
        } else if let Some(path) = &content.message_file {
            let text = read("--message-file", path)?;
            // An editor's newline at the end of the file is no part of the message.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Payload::template(template(&format!("--message-file {}", path.display()), text)?)
        } else if let Some(path) = &content.lines {
            let order = match self.lines_order {
                Order::Turn => LineOrder::Turn,
                Order::Random => LineOrder::Random,
            };
            let lines = Lines::new(read("--lines", path)?, order);
            Payload::template(Template::lines(lines.map_err(in_file("--lines", path))?))
        } else if let Some(path) = &content.replay {
            let recorded = Recorded::parse(&read("--replay", path)?);
            if self.text || self.mix.is_some() {
                let what = "--replay: recorded messages are text or binary as they were; \
                            leave out --text and --mix";
                return Err(what.to_owned());
            }
            Payload::recorded(recorded.map_err(in_file("--replay", path))?)
        } else {
            Payload::sized(content.bytes.or(content.size).unwrap_or(Size::Fixed(32)))
        };
        let payload = match self.mix {
            Some(share) => payload.text_share(share),
            None if self.text => payload.text_share(1.0),
            None => payload,
        };
        Ok(payload.fragment(self.fragment))
    }
}

fn template(option: &str, text: &str) -> Result<Template, String> {
    Template::parse(text, &Names::default()).map_err(|what| format!("{option}: {what}"))
}

fn in_file(option: &str, path: &Path) -> impl Fn(String) -> String {
    move |what| format!("{option} {}: {what}", path.display())
}

/// A text file, all of it.
fn read(option: &str, path: &Path) -> Result<String, String> {
    let in_file = in_file(option, path);
    let file = File::open(path).map_err(|error| in_file(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| in_file(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(in_file("it is longer than 1 GiB, which is the limit".to_owned()));
    }
    Ok(text)
}

fn parse_fixed(text: &str) -> Result<Size, String> {
    // A number only: `--bytes uniform:..` is a mistake.
    parse_bytes(text).and_then(|bytes| bytes.to_string().parse())
}

fn parse_fragment(text: &str) -> Result<NonZeroUsize, String> {
    let bytes = usize::try_from(parse_bytes(text)?).ok().and_then(NonZeroUsize::new);
    bytes.ok_or_else(|| "a frame has at least one byte".to_owned())
}
