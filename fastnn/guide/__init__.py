"""The guide, a chapter a file.

.. include:: getting_started.md
.. include:: command_line.md
.. include:: estimators.md
.. include:: tabular.md
.. include:: from_the_course.md
.. include:: from_the_course_zh.md
.. include:: inputs.md
.. include:: data.md
.. include:: training.md
.. include:: looking_inside.md
.. include:: own_losses.md
.. include:: many_models.md
.. include:: many_machines.md
.. include:: scaling.md
.. include:: pictures.md
.. include:: targets.md
.. include:: reproducibility.md
.. include:: reliability.md
.. include:: moving.md
.. include:: compared.md
"""
