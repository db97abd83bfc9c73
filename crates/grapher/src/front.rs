//! The part of the command line that `grapher` and `millwright graph` share: which question, in which form.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use report::{ExitStatus, Failure};
use rpm_model::Dependency;

use crate::emit::NodeStates;
use crate::query::Explorer;
use crate::{DependencyGraph, GraphHints, Question};

/// A question about the graph and how to answer it, as typed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Form of the answer")]
pub struct QuestionArguments {
    #[command(flatten)]
    asked: AskedArguments,
    /// How many steps to follow; 0 is as far as they lead
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    depth: usize,
    /// How to answer [default: by the ending of the output file, else text]
    #[arg(long, value_name = "FORM")]
    format: Option<AnswerFormat>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Questions, one at a time")]
#[group(id = "question", multiple = false)]
struct AskedArguments {
    /// What NAME needs: to be built, and (marked so) only when installed
    #[arg(long, value_name = "NAME")]
    depends_on: Option<String>,
    /// Who needs NAME: who is built with it, or (marked so) only installed with it
    #[arg(long, value_name = "NAME")]
    needed_by: Option<String>,
    /// How FROM comes to need TO: the shortest way, with every requirement on it
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"])]
    path: Option<Vec<String>>,
    /// What a change of NAME would at most build again, layer by layer
    #[arg(long, value_name = "NAME")]
    impact: Option<String>,
    /// Who could provide a capability such as 'pkgconfig(zlib) >= 1.2', who does, for whom, and by which rule
    #[arg(long, value_name = "CAPABILITY")]
    provider: Option<Dependency>,
    /// Which builds need themselves, and what breaks each cycle
    #[arg(long)]
    cycles: bool,
    /// What nothing provides, and who requires it
    #[arg(long)]
    unresolvable: bool,
}

/// In which form an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
    /// A picture; of the whole graph only where Graphviz is installed
    Svg,
}

/// Draws a graph, given for Graphviz with the number of its nodes, as SVG.
pub type DrawWhole<'d> = dyn Fn(&str, usize) -> Result<String, Failure> + 'd;

/// What surrounds a question.
pub struct Surroundings<'s> {
    /// How far each spec's build is; colours drawings.
    pub states: &'s NodeStates,
    /// The width of the terminal, if the answer goes to one.
    pub width: Option<usize>,
    /// Draws the whole graph.
    pub draw_whole: &'s DrawWhole<'s>,
}

impl QuestionArguments {
    /// Returns the question; `names` without an option ask for what is around them, and nothing asks nothing.
    ///
    /// # Errors
    ///
    /// Fails where names stand beside an option that has its own.
    pub fn question(&self, names: &[String]) -> Result<Option<Question>, Failure> {
        let path = |ends: &Vec<String>| match ends.as_slice() {
            [from, to] => Some(Question::Path(from.clone(), to.clone())),
            _ => None,
        };
        let asked = (self.asked.depends_on.clone().map(Question::DependsOn))
            .or_else(|| self.asked.needed_by.clone().map(Question::NeededBy))
            .or_else(|| self.asked.path.as_ref().and_then(path))
            .or_else(|| self.asked.impact.clone().map(Question::Impact))
            .or_else(|| self.asked.provider.clone().map(Question::Provider))
            .or_else(|| self.asked.cycles.then_some(Question::Cycles))
            .or_else(|| self.asked.unresolvable.then_some(Question::Unresolvable));
        match (asked, names.is_empty()) {
            (Some(question), true) => Ok(Some(question)),
            (None, true) => Ok(None),
            (None, false) => Ok(Some(Question::Neighbourhood(names.to_vec()))),
            (Some(_), false) => {
                let text = format!("`{}` and an option that asks something else", names.join(" "));
                Err(Failure::new(ExitStatus::Usage, text).hint("ask one thing at a time"))
            }
        }
    }

    /// Returns what the graph must know beyond what the tree asks for, to be able to answer.
    pub fn hints(&self) -> GraphHints {
        let explained = self.asked.provider.iter().map(|dependency| dependency.name.clone()).collect();
        GraphHints { explained, ..GraphHints::default() }
    }

    /// Returns whether something was asked of the graph: a question, or the graph in some form.
    pub fn asks(&self, question: Option<&Question>) -> bool {
        question.is_some() || self.format.is_some_and(|format| format != AnswerFormat::Text)
    }

    /// Returns the form in which to answer: as asked for; else JSON where the program speaks JSON; else what the
    /// ending of the output file says.
    ///
    /// # Errors
    ///
    /// Fails for an ending that stands for no form, where nothing else says which.
    pub fn format(&self, output: Option<&PathBuf>, json: bool) -> Result<AnswerFormat, Failure> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        if json {
            return Ok(AnswerFormat::Json);
        }
        match output.and_then(|file| file.extension()?.to_str()) {
            None | Some("txt") => Ok(AnswerFormat::Text),
            Some(ending) => AnswerFormat::from_str(ending, true).map_err(|_| {
                Failure::new(
                    ExitStatus::Usage,
                    format!("the ending `.{ending}` stands for no form of an answer"),
                )
                .hint("`.txt`, `.json`, `.dot` and `.svg` do; `--format` says it for any name")
            }),
        }
    }

    /// Answers.
    ///
    /// # Errors
    ///
    /// Fails for names that mean nothing, and for forms that an answer does not have.
    pub fn answer(
        &self,
        graph: &DependencyGraph,
        question: Option<&Question>,
        format: AnswerFormat,
        surroundings: &Surroundings<'_>,
    ) -> Result<(String, ExitStatus), Failure> {
        let explorer = Explorer::new(graph, surroundings.states);
        let depth = (self.depth > 0).then_some(self.depth);
        let usage = |error: crate::GoalErrors| Failure::new(ExitStatus::Usage, error);
        let internal = |error: serde_json::Error| Failure::new(ExitStatus::Internal, error);
        let Some(question) = question else {
            return self.whole(graph, format, surroundings).map(|text| (text, ExitStatus::Done));
        };
        if matches!(format, AnswerFormat::Dot | AnswerFormat::Svg) {
            let Some(part) = explorer.part(question, depth).map_err(usage)? else {
                return Err(Failure::new(ExitStatus::Usage, "there is no picture of this answer")
                    .hint("`--format text` or `--format json`"));
            };
            let text = if format == AnswerFormat::Dot { part.to_dot() } else { part.to_svg() };
            return Ok((text, ExitStatus::Done));
        }
        let answer = explorer.answer(question, depth).map_err(usage)?;
        let status = if answer.is_good() { ExitStatus::Done } else { ExitStatus::GoalsFailed };
        let text = match format {
            AnswerFormat::Json => serde_json::to_string_pretty(&answer).map_err(internal)? + "\n",
            _ => answer.to_text(surroundings.width),
        };
        Ok((text, status))
    }

    fn whole(
        &self,
        graph: &DependencyGraph,
        format: AnswerFormat,
        surroundings: &Surroundings<'_>,
    ) -> Result<String, Failure> {
        let document = graph.to_json(surroundings.states);
        match format {
            AnswerFormat::Text | AnswerFormat::Json => serde_json::to_string_pretty(&document)
                .map(|text| text + "\n")
                .map_err(|error| Failure::new(ExitStatus::Internal, error)),
            AnswerFormat::Dot => Ok(document.to_dot()),
            AnswerFormat::Svg => (surroundings.draw_whole)(&document.to_dot(), document.nodes.len()),
        }
    }
}
