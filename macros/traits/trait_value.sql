{# A trait of the column `traits`, by its name, written in snake_case as it is here or in camelCase, or by its path, such as
   `address.city`. An empty text says nothing. #}
{% macro trait_value(name) -%}
    {% if '.' in name -%}
        {% set text = revetl.json_path_text('traits', name) | trim -%}
        {{ return('nullif(' ~ revetl.trimmed(text) ~ ", '')") }}
    {% endif -%}
    {% set words = name.split('_') -%}
    {% set camel = words[0] ~ words[1:] | map('capitalize') | join('') -%}
    {% set found = [] -%}
    {% for each in [name, camel] | unique -%}
        {% do found.append('nullif(' ~ revetl.trimmed(revetl.json_text('traits', each) | trim) ~ ", '')") -%}
    {% endfor -%}
    {{ revetl.first_of(found) }}
{%- endmacro %}

{# A column of a trait's values; of one that people are known by, null where the identity rules block the value: what
   identifies nobody takes nothing from who was known. #}
{% macro known_trait(column, name) -%}
    {% for type in revetl.identity_rules().types
        if type.name == name and revetl.standard_identifiers().get(name, {}).get('trait') == name -%}
        {{ return('case when not ' ~ revetl.is_blocked(column, type.blocked) | trim ~ ' then '
            ~ revetl.plain_identifier(column) | trim ~ ' end') }}
    {% endfor -%}
    {{ return(column) }}
{%- endmacro %}
