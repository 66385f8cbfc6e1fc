//! `sockeye completions` and `sockeye man`: what packages install beside the binary.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell that completes
    #[arg(value_enum)]
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Write all pages into this folder, which is made if need be: sockeye.1, sockeye-serve.1, ..
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The subcommand whose page goes to stdout [default: the page of sockeye itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    of: Option<String>,
}

/// Writes what the shell reads.
pub(crate) fn completions(
    options: &CompletionsOptions,
    mut command: Command,
) -> Result<(), Box<dyn Error>> {
    // Into memory first: the generator panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "sockeye", &mut script);
    print(&script)
}

/// Writes one page, or all.
pub(crate) fn man(options: &ManOptions, command: Command) -> Result<(), Box<dyn Error>> {
    let pages = pages(command)?;
    if let Some(folder) = &options.out {
        let in_folder = |error: io::Error| format!("--out {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(in_folder)?;
        for (name, page) in pages {
            fs::write(folder.join(format!("{name}.1")), page).map_err(in_folder)?;
        }
        return Ok(());
    }
    let wanted = options.of.as_ref().map_or_else(|| "sockeye".into(), |of| format!("sockeye-{of}"));
    let names: Vec<_> =
        pages.iter().filter_map(|(name, _)| name.strip_prefix("sockeye-")).collect();
    let page = pages.iter().find(|(name, _)| *name == wanted);
    let (_, page) = page.ok_or_else(|| {
        let of = options.of.as_deref().unwrap_or_default();
        format!("there is no command `{of}`; there are {}", names.join(", "))
    })?;
    print(page)
}

/// One who has read enough (`| head`) is no error.
fn print(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The page of the command and of each subcommand, by their names.
fn pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut commands = vec![command.clone().name("sockeye")];
    for subcommand in command.get_subcommands() {
        // `sockeye serve` in the text, `sockeye-serve` as the name of the page.
        let name = format!("sockeye-{}", subcommand.get_name());
        commands.push(subcommand.clone().display_name(name));
    }
    let page = |command: Command| {
        let name = command.get_display_name().unwrap_or("sockeye").to_owned();
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        Ok((name, page))
    };
    commands.into_iter().map(page).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, ValueEnum as _};

    use super::*;
    use crate::Cli;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages(Cli::command()).unwrap();
        let names: Vec<_> = pages.iter().map(|(name, _)| &**name).collect();
        let mut expected = vec!["sockeye".to_owned()];
        let command = Cli::command();
        let all = command.get_subcommands().map(|one| format!("sockeye-{}", one.get_name()));
        expected.extend(all);
        assert_eq!(names, expected);
        assert!(names.contains(&"sockeye-serve"));
    }

    #[test]
    fn pages_are_roff_without_empty_sections() {
        for (name, page) in pages(Cli::command()).unwrap() {
            let text = String::from_utf8(page).unwrap();
            assert!(text.contains(&format!(".TH {name} 1")), "{name}: its title\n{text}");
            let sections: Vec<_> = text.split("\n.SH ").skip(1).collect();
            let titles: Vec<_> = sections.iter().filter_map(|text| text.lines().next()).collect();
            assert!(titles.starts_with(&["NAME", "SYNOPSIS", "DESCRIPTION"]), "{name}: {titles:?}");
            for section in &sections {
                let content = section.lines().skip(1).any(|line| !line.trim().is_empty());
                assert!(content, "{name}: nothing in {section}");
            }
            // A line that begins with a dot or an apostrophe is a request of one or two letters
            // (groff_man(7)), or text that went astray.
            let requests = ["ie", "el", "IP", "TH", "SH", "SS", "TP", "PP", "RS", "RE", "br", "ds"];
            for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
                let word = line[1..].split([' ', '\\']).next().unwrap_or_default();
                assert!(requests.contains(&word), "{name}: {line}");
            }
        }
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "sockeye", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("--tls-cert") || script.contains("-l tls-cert"), "{shell}");
        }
    }
}
