//! The forecast as text for people.

use super::count::{ClassForecast, Forecast, ObjectForecast};
use crate::commands::output::{fitting, table};

/// The width of names, so that a line has at most 100 columns.
const NAME: usize = 30;

/// A line for each class and each of its objects, and the advice.
pub(super) fn text(forecast: &Forecast) -> String {
    let with_price = forecast.price_per_month.is_some();
    let mut rows = vec![head(with_price)];
    for class in &forecast.classes {
        rows.push(of_class(class));
        rows.extend(class.objects.iter().map(of_object));
    }
    let totals = [forecast.calls_per_hour, forecast.calls_per_month].map(number);
    let mut total = vec!["ALL".to_owned(), String::new(), String::new()];
    total.extend(totals.into_iter().chain(forecast.price_per_month.map(money)));
    rows.push(total);
    let advice = forecast.advice.as_ref().map(|advice| format!("\n{advice}\n"));
    format!("{}{}{}", table(&rows), advice.unwrap_or_default(), left_out(forecast))
}

fn head(with_price: bool) -> Vec<String> {
    let columns = ["CLASS AND OBJECTS", "STORE", "REFRESH", "CALLS/HOUR", "CALLS/MONTH"];
    columns.into_iter().chain(with_price.then_some("PRICE/MONTH")).map(str::to_owned).collect()
}

fn of_class(class: &ClassForecast) -> Vec<String> {
    let mut row = vec![
        fitting(&class.class, NAME),
        fitting(&class.store, NAME),
        format!("{} s × {}", number(class.refresh_seconds), class.readers),
        number(class.calls_per_hour),
        number(class.calls_per_month),
    ];
    row.extend(class.price_per_month.map(money));
    row
}

fn of_object(object: &ObjectForecast) -> Vec<String> {
    let name = format!("  {}", fitting(&object.object, NAME.saturating_sub(2)));
    let calls = number(object.calls_per_hour);
    vec![name, String::new(), object.note.unwrap_or_default().to_owned(), calls]
}

fn left_out(forecast: &Forecast) -> String {
    match forecast.left_out.as_slice() {
        [] => String::new(),
        classes => format!("\nNot counted, for their providers are not built in: {}\n", classes.join(", ")),
    }
}

/// A number for people: whole, or with one digit if it is small.
fn number(of: f64) -> String {
    if of < 10.0 && of.fract() > 0.0 { format!("{of:.1}") } else { format!("{of:.0}") }
}

fn money(of: f64) -> String {
    format!("{of:.2}")
}
