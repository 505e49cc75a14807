{# A condition of a row of `revetl_profiles`, by a trait: trait('lifetime_value', '>', 500). `operator` is a sign or a
   word of those that conditions of traits have; `of` is an alias of the row's relation. #}
{% macro trait(name, operator='exists', value=true, of=none) -%}
    {% set at = "trait('" ~ name ~ "')" -%}
    {% set signs = {'=': 'equals', '==': 'equals', '!=': 'not_equals', '<>': 'not_equals', '<': 'less_than',
        '<=': 'less_than_or_equal', '>': 'greater_than', '>=': 'greater_than_or_equal', 'in': 'one_of',
        'before': 'before_date', 'after': 'after_date'} -%}
    {% set operator = signs.get(operator | lower, operator | lower | replace(' ', '_')) -%}
    {% if operator not in revetl.trait_operators() -%}
        {% do revetl.wrong_trait(at, "has the operator '" ~ operator ~ "'; it must be one of "
            ~ (signs | list + revetl.trait_operators() | list) | join(', ')) -%}
    {% endif -%}
    {# The traits are variables of this package, which a model of another one does not see. #}
    {% if not execute -%}
        {{ return('1 = 1') }}
    {% endif -%}
    {% set types = revetl.profile_types() -%}
    {% if not types -%}
        {{ return('1 = 1') }}
    {% endif -%}
    {% if name not in types -%}
        {% do revetl.wrong_trait(at, 'is no trait; those there are: ' ~ types | join(', ')) -%}
    {% endif -%}
    {% set column = (of ~ '.' if of else '') ~ revetl.quoted(name) -%}
    {# A date is the moment that it begins. #}
    {% if types[name] == 'date' -%}
        {% set column = 'cast(' ~ column ~ ' as ' ~ revetl.type_of('timestamp') ~ ')' -%}
    {% endif -%}
    {% set type = 'timestamp' if types[name] == 'date' else types[name] -%}
    {% set kind = 'number' if type.startswith(('bigint', 'double', 'decimal')) else 'time' if type == 'timestamp' else 'text' -%}
    {% set compares = revetl.trait_operators()[operator] -%}
    {% if compares in ['number', 'time', 'span'] and kind != ('number' if compares == 'number' else 'time') -%}
        {% do revetl.wrong_trait(at, 'is a ' ~ type ~ ', which ' ~ operator ~ ' is not for') -%}
    {% elif type == 'boolean' and compares in ['any', 'list', 'text'] -%}
        {% if operator not in ['equals', 'not_equals'] or value is not boolean -%}
            {% do revetl.wrong_trait(at, 'is a boolean; compare it with true or false') -%}
        {% endif -%}
        {% set holds = revetl.is_true(column) -%}
        {% set is = value if operator == 'equals' else not value -%}
        {{ return(holds if is else '(' ~ column ~ ' is null or not ' ~ holds ~ ')' if operator == 'not_equals' else 'not ' ~ holds) }}
    {% endif -%}
    {% if compares == 'number' and (value is not number or value is boolean) -%}
        {% do revetl.wrong_trait(at, "is compared with '" ~ value ~ "'; it must be a number") -%}
    {% elif compares == 'time' or (compares == 'any' and kind == 'time') -%}
        {% set value = revetl.trait_moment(at, value) -%}
    {% elif compares == 'span' -%}
        {% set value = revetl.trait_hours(at, value) -%}
    {% elif compares == 'list' and (value is string or value is not iterable or not value) -%}
        {% do revetl.wrong_trait(at, "is compared with '" ~ value ~ "'; it must be a list of values") -%}
    {% elif compares == 'any' and kind == 'number' and value is not number -%}
        {% do revetl.wrong_trait(at, "is compared with '" ~ value ~ "'; it must be a number") -%}
    {% elif compares == 'text' and kind != 'text' -%}
        {% do revetl.wrong_trait(at, 'is a ' ~ type ~ ', which ' ~ operator ~ ' is not for') -%}
    {% endif -%}
    {# An element of a list. #}
    {% if type == 'json' and compares == 'text' -%}
        {% set column = 'cast(' ~ column ~ ' as ' ~ revetl.type_of('varchar') ~ ')' -%}
    {% endif -%}
    {{ return(revetl.operator_sql(operator, column, value, kind)) }}
{%- endmacro %}

{# The columns of `revetl_profiles` with their types. #}
{% macro profile_columns() %}
    {% set types = {'canonical_id': 'varchar', 'user_id': 'varchar', 'anonymous_id': 'varchar'} %}
    {% for trait in revetl.declared_traits('profile_traits') %}
        {% do types.update({trait.name: trait.data_type, trait.name ~ '_set_at': 'timestamp'}) %}
    {% endfor %}
    {% for trait in revetl.traits() %}
        {% do types.update({trait.name: trait.data_type}) %}
    {% endfor %}
    {% do types.update({'first_seen_at': 'timestamp', 'last_seen_at': 'timestamp'}) %}
    {{ return(types) }}
{% endmacro %}
