{# Whether a document breaks a rule. A value that is absent breaks none but `required`; as in JSON Schema, a rule of a
   type's values (pattern, minimum, maximum) says nothing of values of another type. #}
{% macro breaks_rule(document, rule) -%}
    {% set value = revetl.plan_value(document, rule.at) -%}
    {% if rule.rule == 'required' -%}
    {{ value }} is null and {{ revetl.is_planned_object(document, rule.within) }}
    {%- elif rule.at == 0 and document.level == 0 -%}
    {{ revetl.is_no_object('content') }}
    {%- elif rule.rule == 'type' -%}
    {{ value }} is not null and not (
        {%- for type in rule.types %}{{ revetl.plan_is(document, rule.at, type) }}{{ ' or ' if not loop.last }}{% endfor -%}
    )
    {%- elif rule.rule == 'enum' -%}
    {{ value }} is not null and not ({{ revetl.is_json_one_of(document, rule) }})
    {%- elif rule.rule == 'pattern' -%}
    {{ revetl.is_json_string_without(value, rule.pattern) }}
    {%- else -%}
    {{ revetl.plan_number(document, rule.at) }} {{ '<' if rule.rule == 'minimum' else '>' }} {{ rule.limit }}
    {%- endif %}
{%- endmacro %}

{# Whether a value is the object that planned properties are in. #}
{% macro is_planned_object(document, place) -%}
    {% if place == 0 and document.level == 0 -%}
    (content is null or not {{ revetl.is_no_object('content') }})
    {%- else -%}
    {{ revetl.is_json(revetl.plan_value(document, place), 'object') }}
    {%- endif %}
{%- endmacro %}

{% macro is_json_one_of(document, rule) -%}
    {% set value = revetl.plan_value(document, rule.at) -%}
    {% set conditions = [] -%}
    {% if rule.strings -%}
        {% do conditions.append('(' ~ revetl.is_json_string_of(value, rule.strings) ~ ')') -%}
    {% endif -%}
    {% if rule.words -%}
        {% do conditions.append(value ~ ' in (' ~ revetl.text_literals(rule.words) ~ ')') -%}
    {% endif -%}
    {% if rule.numbers -%}
        {% do conditions.append('(' ~ revetl.plan_is(document, rule.at, 'number') ~ ' and '
            ~ revetl.plan_number(document, rule.at) ~ ' in (' ~ rule.numbers | join(', ') ~ '))') -%}
    {% endif -%}
    {{ conditions | join(' or ') }}
{%- endmacro %}

{# Whether a closed object of a document has a property that is not planned. #}
{% macro has_unplanned(document, closed) -%}
    {{ revetl.has_other_members(revetl.plan_value(document, closed.at), closed.names) }}
{%- endmacro %}

{# The conditions of all rules, each once: what many documents have is asked for all of them together, since to ask
   document by document takes many times as long. Condition to its number, and the numbers of its documents. #}
{% macro plan_conditions(plan) -%}
    {% set conditions = {} -%}
    {% for document in plan.documents -%}
        {% for rule in document.rules -%}
            {% set condition = revetl.breaks_rule(document, rule) -%}
            {% do conditions.setdefault(condition, {'number': conditions | length + 1, 'documents': []}) -%}
            {% do conditions[condition].documents.append(document.number) -%}
        {% endfor -%}
    {% endfor -%}
    {{ return(conditions) }}
{%- endmacro %}

{# The same of closed objects. They may be met where there is nothing unplanned, as `has_unplanned` is asked of what is
   left. #}
{% macro unplanned_conditions(plan) -%}
    {% set conditions = {} -%}
    {% for document in plan.documents -%}
        {% for closed in document.closed -%}
            {% do conditions.setdefault(revetl.may_have_unplanned(document, closed), []).append(document.number) -%}
        {% endfor -%}
    {% endfor -%}
    {{ return(conditions) }}
{%- endmacro %}

{# Whether a document has anything wrong. #}
{% macro is_wrong(plan, conditions) -%}
    {% set asked = {} -%}
    {% for condition, of in conditions.items() -%}
        {% do asked.setdefault(of.documents | unique | join(', '), []).append(condition) -%}
    {% endfor -%}
    {% for condition, numbers in revetl.unplanned_conditions(plan).items() -%}
        {% do asked.setdefault(numbers | join(', '), []).append(condition) -%}
    {% endfor -%}
    {% set all_numbers = plan.documents | map(attribute='number') | join(', ') -%}
    {% for numbers, of_them in asked.items() -%}
    ({{ 'document_number in (' ~ numbers ~ ') and ' if numbers != all_numbers }}(
        ({{ of_them | join(')\n        or (') }})
    ))
    {{ 'or ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The numbers of the conditions that are met, with commas around them. #}
{% macro met_conditions(conditions) -%}
    {% set numbers = ["','"] -%}
    {% for condition, of in conditions.items() -%}
        {% do numbers.append('case when ' ~ condition ~ " then '" ~ of.number ~ ",' else '' end") -%}
    {% endfor -%}
    {{ dbt.concat(numbers) }}
{%- endmacro %}

{# A value as it is shown: as JSON, but of an object or array only that it is one. #}
{% macro found_value(text) -%}
    case
        when {{ text }} is null then 'nothing'
        when {{ revetl.is_json(text, 'object') }} then 'object'
        when {{ revetl.is_json(text, 'array') }} then 'array'
        else left({{ text }}, 200)
    end
{%- endmacro %}
