"""The part that you edit: who answers a call (`assistant`), what it can do (`tools`), and what they need."""

from agent import assistant
from switchboard.desk import Agent

agent = Agent(
    tools=assistant.tools,
    assistant=assistant.assistant,
    destination=assistant.destination,
    people=assistant.PEOPLE,
    configuration=assistant.front_desk,
)
