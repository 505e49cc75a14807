{# A condition as the value of a column. #}
{% macro truth(condition) -%}
    {{ return(adapter.dispatch('truth', 'revetl')(condition)) }}
{%- endmacro %}

{% macro default__truth(condition) -%}
    {{ condition }}
{%- endmacro %}

{# It knows no conditions outside of a `where`, and calls a bit what is true or false. #}
{% macro fabric__truth(condition) -%}
    {% if condition in ['true', 'false'] -%}
    cast({{ 1 if condition == 'true' else 0 }} as bit)
    {%- else -%}
    cast(case when {{ condition }} then 1 when not ({{ condition }}) then 0 end as bit)
    {%- endif %}
{%- endmacro %}

{# Such a column as a condition. #}
{% macro is_true(column) -%}
    {{ return(adapter.dispatch('is_true', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__is_true(column) -%}
    {{ column }}
{%- endmacro %}

{% macro fabric__is_true(column) -%}
    {{ column }} = 1
{%- endmacro %}

{# Such a column among others that are hashed. #}
{% macro hashed_truth(column) -%}
    {{ return(adapter.dispatch('hashed_truth', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__hashed_truth(column) -%}
    {{ return(column) }}
{%- endmacro %}

{# It has no text there. #}
{% macro redshift__hashed_truth(column) -%}
    {{ return('case when ' ~ column ~ ' then 1 else 0 end') }}
{%- endmacro %}

{# A condition that no row meets. #}
{% macro never() -%}
    {{ return(adapter.dispatch('never', 'revetl')()) }}
{%- endmacro %}

{% macro default__never() -%}
    {{ return('false') }}
{%- endmacro %}

{% macro fabric__never() -%}
    {{ return('1 = 0') }}
{%- endmacro %}
