{# In an aggregate: the value that is not null with the latest moment; ties go to the larger tie-breaker. #}
{% macro last_value_by(value, moment, tie_breaker) -%}
    {{ return(adapter.dispatch('last_value_by', 'revetl')(value, moment, tie_breaker)) }}
{%- endmacro %}

{% macro default__last_value_by(value, moment, tie_breaker) -%}
    (array_agg({{ value }} order by {{ moment }} desc, {{ tie_breaker }} desc) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro postgres__last_value_by(value, moment, tie_breaker) -%}
    (array_agg(
        {{ value }} order by {{ moment }} desc, {{ revetl.by_code_point(tie_breaker) }} desc
    ) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro duckdb__last_value_by(value, moment, tie_breaker) -%}
    arg_max({{ value }}, row({{ moment }}, {{ tie_breaker }})) filter (where {{ value }} is not null)
{%- endmacro %}

{# The moment and the tie-breaker as one text, of the order that the two have. #}
{% macro snowflake__last_value_by(value, moment, tie_breaker) -%}
    max_by({{ value }}, case when {{ value }} is not null
        then to_char({{ moment }}, 'YYYYMMDDHH24MISSFF6') || {{ tie_breaker }} end)
{%- endmacro %}

{# Null is the largest, as in DuckDB; in a struct it would be the smallest. #}
{% macro spark__last_value_by(value, moment, tie_breaker) -%}
    max_by(
        {{ value }},
        struct({{ moment }} is null, {{ moment }}, {{ tie_breaker }} is null, {{ tie_breaker }})
    ) filter (where {{ value }} is not null)
{%- endmacro %}

{% macro bigquery__last_value_by(value, moment, tie_breaker) -%}
    array_agg({{ value }} ignore nulls order by {{ moment }} desc, {{ tie_breaker }} desc limit 1)[safe_offset(0)]
{%- endmacro %}

{# No aggregate takes the value of another's row, so the value is read from the end of the largest text of all
   three. What is between them sorts before every character. #}
{% macro redshift__last_value_by(value, moment, tie_breaker) -%}
    {% set largest = "max(to_char(" ~ moment ~ ", 'YYYYMMDDHH24MISSUS') || " ~ tie_breaker ~ " || chr(1) || "
        ~ value ~ ")" -%}
    substring({{ largest }}, strpos({{ largest }}, chr(1)) + 1)
{%- endmacro %}

{% macro fabric__last_value_by(value, moment, tie_breaker) -%}
    {% set largest = "max(convert(varchar(26), " ~ moment ~ ", 121) + " ~ tie_breaker ~ " + char(1) + "
        ~ value ~ ")" -%}
    substring({{ largest }}, charindex(char(1), {{ largest }}) + 1, 8000)
{%- endmacro %}
