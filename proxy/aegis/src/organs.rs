//! What is wrong with settings that only the organs can tell, without starting anything.

use crate::{modules, sandbox};
use aegis_certs::Times;
use aegis_control::Copies;
use aegis_settings::resolved::Validated;
use aegis_settings::{At, Problem, Severity};

/// Certificates and their hosts, the WAF module, unless there is a copy of it; nothing is made or connected to. `times`
/// says what becomes of certificates whose time is over.
pub(crate) fn check(
    validated: &Validated,
    copies: &Copies,
    file: &str,
    times: Times<'_>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    let at = || {
        Some(At {
            file: file.to_owned(),
            line: 0,
            column: 0,
        })
    };
    match aegis_certs::CertStore::configured(validated, times) {
        Ok((store, warnings)) => {
            found.extend(warnings.iter().map(|problem| certificate(problem, at())));
            found.extend(aegis_certs::uncovered_hosts(validated, &store).into_iter().map(|host| Problem {
                severity: Severity::Warning,
                key: format!("sites[{}].hosts", host.site),
                message: format!("sites[{}] has a host that no certificate covers: {}", host.site, host.host),
                help: Some("browsers will see the default certificate; add one that names this host".to_owned()),
                at: at(),
            }));
        }
        Err(problems) => found.extend(problems.iter().map(|problem| certificate(problem, at()))),
    }
    if let Err(problems) = aegis_control::Tokens::load(&validated.settings.node.admin) {
        found.extend(problems.into_iter().map(|problem| Problem {
            severity: Severity::Error,
            message: problem.to_string(),
            help: Some(problem.help().to_owned()),
            key: problem.key,
            at: at(),
        }));
    }
    if sandbox::wants_waf(validated)
        && modules::coraza_copy(copies).is_none()
        && let Err(error) = modules::coraza()
    {
        found.push(Problem {
            severity: Severity::Error,
            key: "waf".to_owned(),
            message: format!("{error:#}"),
            help: None,
            at: at(),
        });
    }
    found
}

fn certificate(problem: &aegis_certs::CertProblem, at: Option<At>) -> Problem {
    let severity = match problem.severity() {
        aegis_certs::Severity::Error => Severity::Error,
        aegis_certs::Severity::Warning => Severity::Warning,
    };
    Problem {
        severity,
        key: problem.key.clone(),
        message: problem.to_string(),
        help: Some(problem.help().to_owned()),
        at,
    }
}
