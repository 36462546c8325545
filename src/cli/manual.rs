//! Completions and manual pages, from the definitions of the flags.

use clap_complete::Shell;

use super::flags::Cli;

/// The completions of a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::definition(), "otpd", &mut text);
    text
}

/// The manual page of otpd, or of one of its commands.
///
/// # Errors
/// A sentence: there is no such command.
pub fn page(command: Option<&str>) -> Result<Vec<u8>, String> {
    let mut definition = Cli::definition();
    definition.build();
    let definition = match command {
        None => definition,
        Some(name) => definition
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| format!("there is no command `{name}`"))?,
    };
    let name = definition.get_display_name().unwrap_or("otpd").to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(definition)
        .title(name)
        .manual("otpd")
        .render(&mut text)
        .map_err(|err| err.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_is_told_every_flag() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(completions(*shell)).expect("UTF-8");
            for word in ["serve", "ask", "delivery-timeout", "cool-down"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page_and_nothing_else_does() {
        let pages = [None, Some("serve"), Some("ask"), Some("check"), Some("policy"), Some("man")];
        for command in pages {
            let text = String::from_utf8(page(command).expect("a page")).expect("UTF-8");
            let title = command.map_or("otpd".to_owned(), |name| format!("otpd-{name}"));
            assert!(text.contains(&format!(".TH {title} ")), "{command:?}: {}", &text[..200]);
            assert!(text.contains(".SH SYNOPSIS"));
        }
        let serve = String::from_utf8(page(Some("serve")).expect("a page")).expect("UTF-8");
        assert!(serve.contains("OTPD_COOL_DOWN") && serve.contains("\\-\\-delivery\\-timeout"));
        assert!(page(Some("nothing")).is_err());
    }
}
