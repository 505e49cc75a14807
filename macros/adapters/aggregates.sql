{# In an aggregate: the value that is not null with the latest moment; ties go to the larger tie-breaker. #}
{% macro last_value_by(value, moment, tie_breaker) -%}
    {{ return(adapter.dispatch('last_value_by', 'revetl')(value, moment, tie_breaker)) }}
{%- endmacro %}

{% macro default__last_value_by(value, moment, tie_breaker) -%}
    (array_agg({{ value }} order by {{ moment }} desc, {{ tie_breaker }} desc) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro duckdb__last_value_by(value, moment, tie_breaker) -%}
    arg_max({{ value }}, row({{ moment }}, {{ tie_breaker }})) filter (where {{ value }} is not null)
{%- endmacro %}
