"""A policy of one's own: called with the two spaces, it gives a function that acts.

    raydash run --env CartPole-v1 --policy own_policy:leaning --for 20

Run it in the folder of this file.
"""


def leaning(observation_space, action_space):
    """Push the cart to where the pole leans and falls."""

    def act(observation):
        _position, _velocity, angle, angular_velocity = observation
        return int(angle + angular_velocity > 0)

    return act
