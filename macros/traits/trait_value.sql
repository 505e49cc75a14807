{# A trait of the column `traits`, written in snake_case as it is here or in camelCase. #}
{% macro trait_value(name) -%}
    {% set words = name.split('_') -%}
    {% set camel = words[0] ~ words[1:] | map('capitalize') | join('') -%}
    {% if camel == name -%}
    {{ revetl.json_text('traits', name) }}
    {%- else -%}
    coalesce({{ revetl.json_text('traits', name) }}, {{ revetl.json_text('traits', camel) }})
    {%- endif %}
{%- endmacro %}
