//! One file for each command.

mod check;
mod explain;
mod run;
mod status;
mod verdicts;
mod version;
mod waf;

use crate::admin_client::Client;
use crate::cli::{Asking, Command, Verdicts, Waf};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Does what was asked.
///
/// # Errors
/// It could not be done; wrong settings are no error but exit code 78.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Why(args) => verdicts::why(&args),
        Command::Ban(args) => verdicts::ban(&args),
        Command::Allow(args) => verdicts::allow(&args),
        Command::Unban(args) => verdicts::unban(&args),
        Command::Verdicts(Verdicts::List(args)) => verdicts::list(&args),
        Command::Waf(Waf::Top(args)) => waf::top(&args),
        Command::Waf(Waf::Exclude(args)) => waf::exclude(&args),
        Command::Version(args) => version::run(&args),
    }
}

/// A client of the node that is meant, with the token that is to be shown, if any.
fn client(asking: &Asking) -> anyhow::Result<Client> {
    let token = match &asking.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("the token in {} cannot be read", path.display()))?,
        ),
        None => std::env::var("AEGIS_TOKEN")
            .ok()
            .filter(|token| !token.is_empty()),
    };
    Ok(Client {
        socket: socket(asking),
        token: token.map(|token| token.trim().to_owned()),
    })
}

/// The admin socket of the node that is meant: the one named, the one in the state directory named, the one the settings
/// name, or the default.
fn socket(asking: &Asking) -> PathBuf {
    if let Some(socket) = &asking.socket {
        return socket.clone();
    }
    if let Some(state_dir) = &asking.state_dir {
        return state_dir.join("admin.sock");
    }
    let config = asking
        .config
        .as_deref()
        .unwrap_or(Path::new(crate::cli::DEFAULT_CONFIG));
    // A node that runs from last known good has its socket where it always had it.
    let default = default_state_dir();
    let boot = aegis_control::boot(config, &default, &|_, _| Vec::new());
    boot.map_or_else(
        |_| default.join("admin.sock"),
        |boot| boot.validated().settings.node.admin.socket.clone(),
    )
}

/// Where state is kept when nothing says otherwise.
fn default_state_dir() -> PathBuf {
    let smallest = aegis_settings::Flags {
        origins: vec!["http://127.0.0.1".to_owned()],
        ..Default::default()
    };
    aegis_settings::from_flags(&smallest).map_or_else(
        |_| PathBuf::from("/var/lib/aegis"),
        |validated| validated.settings.node.state_dir,
    )
}
