{# Between two selects: the rows of both, each once. #}
{% macro union_distinct() -%}
    {{ return(adapter.dispatch('union_distinct', 'revetl')()) }}
{%- endmacro %}

{% macro default__union_distinct() -%}
    {{ return('union') }}
{%- endmacro %}

{# Where rows may repeat or not, it has to be said. #}
{% macro bigquery__union_distinct() -%}
    {{ return('union distinct') }}
{%- endmacro %}

{# Between two selects: the rows of the first that are not in the second, each once. #}
{% macro except_distinct() -%}
    {{ return(adapter.dispatch('except_distinct', 'revetl')()) }}
{%- endmacro %}

{% macro default__except_distinct() -%}
    {{ return('except') }}
{%- endmacro %}

{% macro bigquery__except_distinct() -%}
    {{ return('except distinct') }}
{%- endmacro %}
