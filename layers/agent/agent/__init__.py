"""The part that you edit: who answers a call (`assistant`), what it can do (`tools`), and what they need."""

from agent import assistant, tools
from switchboard.desk import Agent

agent = Agent(
    tools=tools.tools,
    assistant=assistant.assistant,
    destination=assistant.destination,
    people=assistant.PEOPLE,
    configuration=assistant.front_desk,
)
