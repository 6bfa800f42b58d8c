//! The commands that the documentation prints.

/// A fenced `sh` block of a Markdown file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The line of the file that it begins on, counted from 1.
    pub line: usize,
    /// The commands, as a reader would paste them: without the prompt where one is printed.
    pub commands: String,
}

/// The `sh` blocks of a Markdown text, in order.
///
/// # Panics
///
/// If a block never ends.
pub fn shell_snippets(markdown: &str) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let mut commands = String::new();
        loop {
            let (_, line) = lines.next().unwrap_or_else(|| panic!("the block of line {} never ends", index + 1));
            if line.trim_start() == "```" {
                break;
            }
            commands.push_str(line.strip_prefix("$ ").unwrap_or(line));
            commands.push('\n');
        }
        if language == "sh" {
            snippets.push(Snippet { line: index + 1, commands });
        }
    }
    snippets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_sh_blocks_and_nothing_else() {
        let text = "a\n```sh\n$ one \\\n  more\n```\nb\n```rust\n```\n  ```sh\n  two\n  ```\n";
        let found: Vec<_> = shell_snippets(text).into_iter().map(|found| (found.line, found.commands)).collect();
        assert_eq!(found, [(2, "one \\\n  more\n".to_owned()), (9, "  two\n".to_owned())]);
    }
}
