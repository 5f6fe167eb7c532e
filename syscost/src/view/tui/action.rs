//! The actions that keys stand for, and the effects that the run loop has to carry out.
//!
//! Knows no keys; those are the keymap's.

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Leave the program.
    Quit,
    /// Interrupt the command that is measured; where there is none, leave the program.
    Interrupt,
    /// Stop the program until the shell continues it.
    Suspend,
    /// Draw everything anew, over whatever another program has written there.
    Redraw,
    /// The row above; in text, a line up.
    Up,
    /// The row below; in text, a line down.
    Down,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
    /// The first row or line.
    First,
    /// The last row or line.
    Last,
    /// Open the selected syscall, or attach to the selected process.
    Open,
    /// Back to the screen before; on the first screen, drop the filter, and without one return to
    /// the list that the process was chosen from.
    Back,
    /// Show or leave the help screen.
    Help,
    /// Show or leave the ledger screen.
    Ledger,
    /// Show or leave the screen of the calls that are open now.
    InFlight,
    /// From the interval to everything since attach, or back.
    ToggleWindow,
    /// Freeze what is shown, or show what is new again.
    Pause,
    /// Sort by the next column to the right.
    SortNext,
    /// Sort by the next column to the left.
    SortPrevious,
    /// Sort the other way round.
    Reverse,
    /// Begin to type a filter.
    Filter,
    /// Add a character to the filter.
    FilterType(char),
    /// Take the filter's last character away.
    FilterErase,
    /// Keep the filter and stop typing.
    FilterKeep,
    /// Drop the filter.
    FilterClear,
}

/// What the run loop has to do after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Leave the program.
    Quit,
    /// Interrupt the command that is measured; where there is none, leave the program.
    Interrupt,
    /// Measure this process, by its PID.
    Attach(u32),
    /// Return to the list of processes.
    Leave,
    /// Give the terminal back, stop, and take it again.
    Suspend,
    /// Clear the terminal before drawing.
    Redraw,
}
