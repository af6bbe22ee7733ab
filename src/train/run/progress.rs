//! How far a run is: a bar with rate, time left and losses on a terminal; elsewhere a short log line now and then.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Pause between log lines when there is no terminal.
const LOG_PAUSE: Duration = Duration::from_secs(30);
/// Metrics shown; all of them are in the run folder.
const SHOWN: usize = 3;

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    first_step: u64,
    total_steps: u64,
    started: Instant,
    /// When the last line was printed.
    logged: Option<Instant>,
    /// The last value of each metric, in order of first appearance.
    values: Vec<(String, f64)>,
}

impl Progress {
    pub fn new(first_step: u64, total_steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{bar:30} {pos}/{len} steps  {msg}";
            let style = ProgressStyle::with_template(template).expect("the template is fixed");
            ProgressBar::new(total_steps).with_style(style).with_position(first_step)
        });
        Progress { bar, first_step, total_steps, started: Instant::now(), logged: None, values: Vec::new() }
    }

    pub fn update(&mut self, step: u64, values: &[(&str, f64)]) {
        for &(name, value) in values {
            match self.values.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = value,
                None => self.values.push((name.to_string(), value)),
            }
        }
        let message = self.message(step);
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(message);
        } else if self.is_time(step) {
            self.logged = Some(Instant::now());
            tracing::info!("step {step}/{}  {message}", self.total_steps);
        }
    }

    /// One line per pause; a run that ends before its first pause is told of once.
    fn is_time(&self, step: u64) -> bool {
        let ends_unheard = step >= self.total_steps && self.logged.is_none();
        ends_unheard || self.logged.unwrap_or(self.started).elapsed() >= LOG_PAUSE
    }

    pub fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn message(&self, step: u64) -> String {
        let done = step.saturating_sub(self.first_step);
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let left = self.total_steps.saturating_sub(step);
        let eta =
            if done == 0 || left == 0 { String::new() } else { format!("  left {}", duration(left as f64 / rate)) };
        let told = self.values.iter().filter(|(_, v)| *v != 0.0).take(SHOWN);
        let values: Vec<String> = told.map(|(name, v)| format!("{} {}", short_name(name), short(*v))).collect();
        format!("{rate:.2} steps/s{eta}  {}", values.join("  "))
    }
}

/// The name without the part of the run that it is about.
fn short_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Three digits that mean something: `1.23`, `0.0123`, `4.5e-6`.
fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => value.to_string(),
        1e-3..1e6 => {
            let decimals = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
            format!("{value:.decimals$}")
        }
        _ => format!("{value:.1e}"),
    }
}

/// `1 h 02 min`, `3 min 07 s` or `12 s`.
fn duration(seconds: f64) -> String {
    let s = seconds.clamp(0.0, 1e9) as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_short_and_never_zeros_alone() {
        let shown = [3.21654, 0.012345, 123.4, 4.49e-6, f64::NAN, -0.5, 0.00123].map(super::short);
        assert_eq!(shown, ["3.22", "0.0123", "123", "4.5e-6", "NaN", "-0.500", "0.00123"]);
        let mut progress = super::Progress::new(0, 10);
        progress.update(1, &[("train/loss", 0.25), ("train/skipped_updates", 0.0), ("train/gradient_norm", 1e-7)]);
        let message = progress.message(1);
        assert!(message.ends_with("loss 0.250  gradient_norm 1.0e-7"), "{message}");
    }

    #[test]
    fn durations_read_naturally() {
        let shown = [12.4, 187.0, 3725.0, f64::INFINITY].map(super::duration);
        assert_eq!(shown, ["12 s", "3 min 07 s", "1 h 02 min", "277777 h 46 min"]);
    }
}
