"""The part that you edit: who answers a call (`assistant`), what it can do (`tools`), and what they need."""

from agent.assistant import assistant, destination
from agent.tools import tools
from switchboard.desk import Agent

agent = Agent(tools=tools, assistant=assistant, destination=destination)
