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

{# By a key of both that compares byte by byte, which all aggregates of the two share: a row would be made one for each. #}
{% macro duckdb__last_value_by(value, moment, tie_breaker) -%}
    arg_max({{ value }}, {{ revetl.duckdb_place(moment, tie_breaker) }}) filter (where {{ value }} is not null)
{%- endmacro %}

{% macro duckdb_place(moment, tie_breaker) -%}
    create_sort_key({{ moment }}, 'asc nulls last', {{ tie_breaker }}, 'asc nulls last')
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

{# In an aggregate: the value that is not null with the earliest moment; ties go to the smaller tie-breaker. #}
{% macro first_value_by(value, moment, tie_breaker) -%}
    {{ return(adapter.dispatch('first_value_by', 'revetl')(value, moment, tie_breaker)) }}
{%- endmacro %}

{% macro default__first_value_by(value, moment, tie_breaker) -%}
    (array_agg({{ value }} order by {{ moment }}, {{ tie_breaker }}) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro postgres__first_value_by(value, moment, tie_breaker) -%}
    (array_agg(
        {{ value }} order by {{ moment }}, {{ revetl.by_code_point(tie_breaker) }}
    ) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro duckdb__first_value_by(value, moment, tie_breaker) -%}
    arg_min({{ value }}, {{ revetl.duckdb_place(moment, tie_breaker) }}) filter (where {{ value }} is not null)
{%- endmacro %}

{% macro snowflake__first_value_by(value, moment, tie_breaker) -%}
    min_by({{ value }}, case when {{ value }} is not null
        then to_char({{ moment }}, 'YYYYMMDDHH24MISSFF6') || {{ tie_breaker }} end)
{%- endmacro %}

{% macro spark__first_value_by(value, moment, tie_breaker) -%}
    min_by({{ value }}, struct({{ moment }}, {{ tie_breaker }})) filter (where {{ value }} is not null)
{%- endmacro %}

{% macro bigquery__first_value_by(value, moment, tie_breaker) -%}
    array_agg({{ value }} ignore nulls order by {{ moment }}, {{ tie_breaker }} limit 1)[safe_offset(0)]
{%- endmacro %}

{% macro redshift__first_value_by(value, moment, tie_breaker) -%}
    {% set smallest = "min(to_char(" ~ moment ~ ", 'YYYYMMDDHH24MISSUS') || " ~ tie_breaker ~ " || chr(1) || "
        ~ value ~ ")" -%}
    substring({{ smallest }}, strpos({{ smallest }}, chr(1)) + 1)
{%- endmacro %}

{% macro fabric__first_value_by(value, moment, tie_breaker) -%}
    {% set smallest = "min(convert(varchar(26), " ~ moment ~ ", 121) + " ~ tie_breaker ~ " + char(1) + "
        ~ value ~ ")" -%}
    substring({{ smallest }}, charindex(char(1), {{ smallest }}) + 1, 8000)
{%- endmacro %}

{# In an aggregate: the percentile of numbers, from 0 to 1, between the two nearest where it falls between them. #}
{% macro percentile(value, part) -%}
    {{ return(adapter.dispatch('percentile', 'revetl')(value, part)) }}
{%- endmacro %}

{% macro default__percentile(value, part) -%}
    percentile_cont({{ part }}) within group (order by cast({{ value }} as {{ revetl.type_of('double') }}))
{%- endmacro %}

{% macro duckdb__percentile(value, part) -%}
    quantile_cont(cast({{ value }} as double), {{ part }})
{%- endmacro %}

{% macro spark__percentile(value, part) -%}
    percentile(cast({{ value }} as double), {{ part }})
{%- endmacro %}

{# Exact ones are of windows only; of a thousand steps, the one that is nearest. #}
{% macro bigquery__percentile(value, part) -%}
    approx_quantiles(cast({{ value }} as float64), 1000)[safe_offset({{ (part * 1000) | int }})]
{%- endmacro %}

{% macro fabric__percentile(value, part) -%}
    approx_percentile_cont({{ part }}) within group (order by cast({{ value }} as float))
{%- endmacro %}

{# In an aggregate of texts that are all different: they in the order of their code points, as a JSON array; null where
   there are none. #}
{% macro unique_list(value) -%}
    {{ return(adapter.dispatch('unique_list', 'revetl')(value)) }}
{%- endmacro %}

{% macro default__unique_list(value) -%}
    jsonb_agg({{ value }} order by {{ revetl.by_code_point(value) }}) filter (where {{ value }} is not null)
{%- endmacro %}

{% macro duckdb__unique_list(value) -%}
    to_json(list_sort(list({{ value }}) filter (where {{ value }} is not null)))
{%- endmacro %}

{% macro snowflake__unique_list(value) -%}
    case when count({{ value }}) > 0 then to_variant(array_sort(array_agg({{ value }}))) end
{%- endmacro %}

{% macro bigquery__unique_list(value) -%}
    case when count({{ value }}) > 0 then to_json(array_agg({{ value }} ignore nulls order by {{ value }})) end
{%- endmacro %}

{% macro spark__unique_list(value) -%}
    case when count({{ value }}) > 0 then to_json(array_sort(collect_list({{ value }}))) end
{%- endmacro %}

{# As the text of one, which has 64 KB. #}
{% macro redshift__unique_list(value) -%}
    json_parse('[' || listagg(json_serialize(cast({{ value }} as super)), ',')
        within group (order by json_serialize(cast({{ value }} as super))) || ']')
{%- endmacro %}

{% macro fabric__unique_list(value) -%}
    '[' + string_agg('"' + string_escape({{ value }}, 'json') + '"', ',')
        within group (order by {{ revetl.by_code_point(value) }}) + ']'
{%- endmacro %}
