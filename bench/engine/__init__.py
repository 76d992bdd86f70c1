"""Trains many models as one tensor program: every tensor has a leading member axis.

Shapes, in every file of this folder and in `methods/`:

    G   members: training runs (one hyper-parameter point x one seed) that are trained together
    B   pairs of one mini-batch       D   embedding size
    U   users     I   items           S   distinct seeds among the members
"""
