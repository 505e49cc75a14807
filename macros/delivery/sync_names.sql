{# The audience of a sync's name, `audience.destination`: a model's name has no dot, a destination's may. #}
{% macro audience_of(sync) -%}
    substr({{ sync }}, 1, {{ dbt.position("'.'", sync) }} - 1)
{%- endmacro %}

{# The destination of a sync's name. #}
{% macro destination_of(sync) -%}
    substr({{ sync }}, {{ dbt.position("'.'", sync) }} + 1)
{%- endmacro %}
