{# What the plan omits stays out of staging: a message that has something to omit is written anew with what is planned. #}

{# CTEs of the messages of a type that have something to omit; nothing where the plan omits nothing of the type. #}
{% macro messages_to_omit_from(type) -%}
    {% if not revetl.has_part('protocols') -%}
        {{ return('') }}
    {%- endif %}
    {# Named in any case: see `and_not_blocked`. #}
    {% set violations = ref('revetl', 'revetl_tracking_plan_violations') -%}
    {% if revetl.omitting_documents(revetl.tracking_plan(), type) -%}
to_omit_from as (

    select distinct message_id as omit_from_id
    from {{ violations }}
    where
        message_type = '{{ type }}'
        and action = 'omit'

),
    {%- endif %}
{%- endmacro %}

{# The join to them. #}
{% macro join_to_omit_from(type, id) -%}
    {% if revetl.has_part('protocols') and revetl.omitting_documents(revetl.tracking_plan(), type) -%}
    left join to_omit_from
        on {{ id }} = to_omit_from.omit_from_id
    {%- endif %}
{%- endmacro %}

{# A document of a message as staging has it, in a select from such a join. #}
{% macro staged_document(type, content) -%}
    {% set value = content if not revetl.has_part('protocols') else revetl.without_omitted(
        revetl.tracking_plan(), type, content, 'event_text', 'omit_from_id is not null') -%}
    {{ value }}{{ ' as ' ~ content if value != content }}
{%- endmacro %}

{# A document without what the plan omits, where the condition holds. #}
{% macro without_omitted(plan, type, content, event, condition) -%}
    {% set cases = [] -%}
    {% for document in revetl.omitting_documents(plan, type) -%}
        {% set is_document = ' and ' ~ event ~ ' = ' ~ revetl.text_literal(document.event) if document.event is not none else '' -%}
        {% set kept = revetl.json_rewritten(revetl.json_document(content), revetl.planned_shape(plan, document, 'omit')) -%}
        {% do cases.append('when ' ~ condition ~ is_document ~ ' then ' ~ revetl.as_json(kept)) -%}
    {% endfor -%}
    {{ return('case ' ~ cases | join(' ') ~ ' else ' ~ content ~ ' end' if cases else content) }}
{%- endmacro %}

{# The documents of a plan that omit, of a type of messages. #}
{% macro omitting_documents(plan, type) -%}
    {% set found = [] -%}
    {% for document in plan.documents if document.type == type and document.level == 0 -%}
        {% if revetl.planned_shape(plan, document, 'omit') -%}
            {% do found.append(document) -%}
        {% endif -%}
    {% endfor -%}
    {{ return(found) }}
{%- endmacro %}

{# A document's closed objects that may have an action as a shape for `json_rewritten`; empty where it has none. #}
{% macro planned_shape(plan, document, action) -%}
    {% set shape = {} -%}
    {% for closed in document.closed if revetl.may_be(closed.action, action) -%}
        {% set object = revetl.shape_at(shape, document.paths[closed.at - 1] if closed.at else []) -%}
        {% do object.update({'only': closed.names}) -%}
    {% endfor -%}
    {% for array in document.arrays -%}
        {% set element = plan.documents | selectattr('number', 'equalto', array.element) | first -%}
        {% set items = revetl.planned_shape(plan, element, action) -%}
        {% if items -%}
            {% do revetl.shape_at(shape, array.names).update({'items': items}) -%}
        {% endif -%}
    {% endfor -%}
    {{ return(shape) }}
{%- endmacro %}

{# The shape of what names lead to, made where it is missing. #}
{% macro shape_at(shape, names) -%}
    {% set at = namespace(shape=shape) -%}
    {% for name in names -%}
        {% do at.shape.setdefault('inside', {}).setdefault(name, {}) -%}
        {% set at.shape = at.shape.inside[name] -%}
    {% endfor -%}
    {{ return(at.shape) }}
{%- endmacro %}
