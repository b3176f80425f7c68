//! `steadfast completions`.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;

/// Prints what a shell needs to complete this command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast completions bash > ~/.local/share/bash-completion/completions/steadfast
  steadfast completions zsh > ~/.zfunc/_steadfast
  steadfast completions fish > ~/.config/fish/completions/steadfast.fish")]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints it.
pub(super) fn run(options: &Options) -> ExitCode {
    let shell = match options.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Command::command(), "steadfast", &mut script);
    // Who closes the pipe has read enough.
    let _ = std::io::stdout().write_all(&script);
    ExitCode::SUCCESS
}
