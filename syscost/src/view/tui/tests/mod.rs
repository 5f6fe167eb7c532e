//! The screens as a person sees them, and what keys do to them.

mod behaviour;
mod fixture;
mod hostile;
mod screens;
mod sizes;
