//! otpd from outside: dialogues, rules against a model, the process, the papers.

mod ask;
mod cases;
mod check;
mod harness;
mod papers;
mod process;
mod readme_example;
mod rules;
mod sendmail;
mod smtp;
mod talk;
mod templates;
mod transcripts;
mod tty;
mod walls;
