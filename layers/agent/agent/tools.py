"""What the agent can do. Each tool is a plain function; the decorator says what it does outside, and when it runs."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from agent.calendar import UnknownAppointment, calendar, open_at
from switchboard.tools import Call, Toolbox, ToolError

AppointmentId = Annotated[str, "The id that find_appointment returned.", Field(pattern=r"^apt_\d+$")]
"""Only ids that this agent has handed out are of any use."""

Start = Annotated[AwareDatetime, "The new start that the caller agreed to, in ISO 8601 with the clinic's offset."]

tools = Toolbox()


@tools.tool(effect="read")
def find_appointment(call: Call) -> str:
    """Look up the caller's appointment. Call this before any change."""
    if not call.caller.startswith("+"):
        # All withheld numbers look the same: without a number of their own, callers would share an appointment.
        raise ToolError("I cannot see your number, so I cannot find your appointment. May I put you through?")
    appointment = calendar().find(call.caller, call.now)
    return f"Appointment {appointment.id} is on {appointment.spoken()} ({appointment.start.isoformat()})."


@tools.tool(effect="keyed", meanwhile="One moment, I am moving it now.", timeout=6)
def change_appointment(call: Call, appointment: AppointmentId, start: Start) -> str:
    """Move the caller's appointment, once the caller has agreed to the new time."""
    if start < call.now:
        raise ToolError("That time has passed already. Which other time suits you?")
    if not open_at(start):
        raise ToolError("We are open Monday to Friday, from eight to six. Which other time suits you?")
    try:
        moved = calendar().move(call.caller, appointment, start, call.idempotency_key)
    except UnknownAppointment:
        raise ToolError("I cannot find that appointment. Shall I look it up again?") from None
    return f"The appointment is now on {moved.spoken()}."


@tools.tool(effect="keyed", meanwhile="One moment, I will see who is free.", timeout=15, on_interrupt="cancel")
def transfer_to_person(
    call: Call,
    person: Annotated[Literal["reception"], "Who the caller is put through to."],
    summary: Annotated[str, "Who is calling and what they want, in one or two sentences, for the person to hear."],
) -> str:
    """Put the caller through to a person, when they ask for one or when you cannot help."""
    return call.transfer(person, summary)


@tools.tool(effect="keyed", after_call=True)
def send_confirmation(call: Call, appointment: AppointmentId) -> str:
    """Send the caller a confirmation of the appointment after the call."""
    calendar().confirm(call.caller, appointment, call.idempotency_key)
    return "Confirmation sent."
